package engine

import (
	"context"
	"time"
)

// Mode is what an action override does.
type Mode string

const (
	ModeBlock           Mode = "block"            // never run
	ModeRequireApproval Mode = "require_approval" // always ask a person
	ModeForceAuto       Mode = "force_auto"       // run by itself, below CRITICAL
)

// MaxCandidates is how many whitelist entries one input may hold.
const MaxCandidates = 64

// Override changes what the tier would decide for one action type of one
// tenant. At most one of each mode stands. Immutable once made by NewOverride.
type Override struct {
	TenantID    string
	ActionType  string
	Mode        Mode
	Constraints []byte     // RFC 8785 bytes of the constraints object
	ExpiresAt   *time.Time // nil: no expiry
	Reason      string
	SetBy       string
	SetAt       time.Time

	fragment fragment
}

// WhitelistEntry lets one HIGH action type run by itself at L4 on the targets
// its constraints name. Immutable once made by NewWhitelistEntry.
type WhitelistEntry struct {
	TenantID    string
	ID          string // UUIDv7
	ActionType  string
	Constraints []byte // RFC 8785 bytes of the constraints object
	ExpiresAt   time.Time
	Reason      string
	SetBy       string
	SetAt       time.Time
	Notify      []string

	fragment fragment
}

// Facts is the configuration that one decision reads, at one epoch.
type Facts struct {
	TenantID     string
	MaturityTier int
	Stopped      bool
	Epoch        int64
	Overrides    []*Override       // this tenant's and action type's, ordered by mode
	Whitelist    []*WhitelistEntry // a superset of those that match, ordered by id
}

// FactSource knows the configuration.
type FactSource interface {
	// Facts returns the tenant's configuration as far as a decision about the
	// action type on the target at now can depend on it, all of one epoch.
	// Returns ErrTooManyCandidates when more than MaxCandidates whitelist
	// entries may match. It does no I/O.
	Facts(tenantID, actionType, target string, now time.Time) (Facts, error)
}

// Log makes decisions durable.
type Log interface {
	// Append writes entries in as few commits as possible and returns one
	// result per entry, in order, once its fate is known or ctx or the log's
	// own patience ends. See AppendResult for what each outcome promises.
	Append(ctx context.Context, entries []*Entry) []AppendResult
}

// AppendResult is the fate of one entry given to Log.Append.
type AppendResult struct {
	// Entry is the row that stands for this action_id: the one given, with its
	// LogSeq and Leaf, or, when Repeated, the one that was there before, also with
	// its Leaf.
	Entry    *Entry
	Repeated bool
	// Approval is the approval that the entry, a queued_approval, opened or
	// joined.
	Approval *Approval
	// Epoch is the tenant's epoch when the batch committed, and PolicyEpoch the
	// deployment's.
	Epoch, PolicyEpoch int64
	// Err is nil only when Entry is durable. ErrStaleEpoch: nothing was
	// written, decide again. ErrStalePolicy: nothing was written, decide again
	// by the bundle that is active now. ErrQueueFull: nothing was written.
	// ErrUnavailable: not written, or unknown.
	Err error
}
