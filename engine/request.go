package engine

import (
	"errors"
	"time"
)

// Request is one question: may this action run on this target? Its fields are
// already checked; see CONTRACT "POST /decisions" for the bounds.
type Request struct {
	TenantID   string
	ActionID   string // UUID; the idempotency key. Empty: the gate makes one.
	ActionType string
	Target     string
	Actor      string   // "system" or "user:<id>"
	Confidence *float64 // 0..1, nil when the caller gave none
	Parameters []byte   // RFC 8785 bytes of the object, nil when absent
	IncidentID string
	ReadSet    []byte // RFC 8785 bytes of the view the agent read, nil when absent
	Principal  string // name of the credential that asked
	Person     string // whose credential it is; "": Principal. Not kept in the log.
	// Digest is the SHA-256 of the request body in RFC 8785 form without its
	// action_id. Two requests with one action_id are the same request when
	// their digests are equal.
	Digest [32]byte
}

// Entry is one row of the gate log: the request, the verdict and the evidence
// for it. It is immutable once appended.
type Entry struct {
	DecisionID string // UUIDv7
	Request           // ActionID is always set here
	// FreshActionID: the gate made the ActionID just now, so nobody can have
	// asked under it before. Not kept in the log.
	FreshActionID bool
	Verdict
	Policy           PolicyID
	Rollback         string
	Input            []byte // canonical bytes of what the policy saw
	ParametersDigest string // "sha256:<hex>" of Request.Parameters, "" when absent
	EngineVersion    string
	ConfigEpoch      int64
	PolicyEpoch      int64 // of the activation that made Policy the active bundle
	LogSeq           int64 // 1,2,3… per tenant; given by the log
	DecidedAt        time.Time
	Leaf             Leaf // given by the log; a row that was read has it only where that is said

	// ApprovalID is the approval that a queued_approval waits for, or by which
	// the decision was made again; given by the log. Supersedes is then the
	// decision that opened the approval.
	ApprovalID string
	Supersedes string
	// Approval is where that approval stands, as far as it was asked for.
	Approval *Approval
	// Needed and Wait are what the bundle asks of an approval that this entry
	// opens: how many must approve, and within what time. Zero: 1 (CRITICAL 2)
	// and DefaultWait. Not kept in the log.
	Needed int
	Wait   time.Duration
	// Notify is where the whitelist entry that let the action go wants that
	// announced. Not kept in the log.
	Notify []string
}

// Leaf is a row's place in its tenant's tree. The zero value is none.
type Leaf struct {
	Index int64
	Hash  [32]byte // RFC 6962's leaf hash
}

// Known reports whether there is one.
func (l Leaf) Known() bool { return l.Hash != [32]byte{} }

// AutoValidFor is how long an "auto" may be acted upon.
const AutoValidFor = time.Minute

// ValidUntil is when an "auto", or a decision that was made again and released
// its action, runs out; ok is false for other decisions.
func (e *Entry) ValidUntil() (t time.Time, ok bool) {
	if e.Supersedes != "" {
		if e.Approval == nil || e.Approval.Status != ApprovalReleased {
			return time.Time{}, false
		}
		return e.Approval.ValidUntil, true
	}
	if e.Decision != Auto {
		return time.Time{}, false
	}
	return e.DecidedAt.Add(AutoValidFor), true
}

// Why a question gets no decision. Callers test with errors.Is.
var (
	// ErrPolicy: the policy gave no usable verdict (P3). Nothing was logged.
	ErrPolicy = errors.New("policy_error")
	// ErrUnavailable: the row could not be made durable in time, or it is
	// unknown whether it was. No decision is given (P1).
	ErrUnavailable = errors.New("the gate log cannot be written")
	// ErrQueueFull: too many decisions wait for the log. Ask again later.
	ErrQueueFull = errors.New("the gate log's queue is full")
	// ErrStaleEpoch: the configuration changed between facts and commit; the
	// store has caught up and the request must be decided again (P5).
	ErrStaleEpoch = errors.New("the configuration changed meanwhile")
	// ErrStalePolicy: another bundle is active than the one that decided, and
	// this gate did not take it over in time. Nothing was written.
	ErrStalePolicy = errors.New("another bundle is active")
	// ErrTooManyCandidates: more than MaxCandidates whitelist entries may match.
	ErrTooManyCandidates = errors.New("too_many_candidates")
	// ErrActionConflict: this action_id was used for a different request.
	ErrActionConflict = errors.New("action_id was used for a different request")
	// ErrSuperseded: the stored answer is an "auto" that no longer holds.
	ErrSuperseded = errors.New("decision_superseded")
	// ErrNotFound: nothing stands under that id for this tenant.
	ErrNotFound = errors.New("not found")
	// ErrStale: If-Match named another epoch than the current one.
	ErrStale = errors.New("the configuration is no longer the one named by If-Match")
)
