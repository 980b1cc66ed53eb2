package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ApprovalStatus is where an approval stands. The zero value is none, and only
// Released lets anything run.
type ApprovalStatus string

// The statuses. Approved stands in events only: whoever gives the last approval
// has the action decided again and released or refused in the same commit.
const (
	ApprovalPending   ApprovalStatus = "pending"
	ApprovalApproved  ApprovalStatus = "approved"
	ApprovalDenied    ApprovalStatus = "denied"
	ApprovalExpired   ApprovalStatus = "expired"
	ApprovalCancelled ApprovalStatus = "cancelled"
	ApprovalReleased  ApprovalStatus = "released"
	ApprovalRefused   ApprovalStatus = "refused"
)

// ApprovalStatuses are all that an approval can stand at, in the order in which
// they come.
var ApprovalStatuses = []ApprovalStatus{ApprovalPending, ApprovalApproved, ApprovalDenied, ApprovalExpired, ApprovalCancelled, ApprovalReleased, ApprovalRefused}

// DefaultWait is how long an approval stays open when the bundle has no table
// that says so.
const DefaultWait = 4 * time.Hour

// Approval is the question whether exactly one action of one tenant may run,
// as it stands.
type Approval struct {
	TenantID     string
	ID           string         // UUIDv7
	Status       ApprovalStatus // as stored; see StatusAt
	Version      int64          // number of events; each step raises it
	ActionDigest [32]byte       // see ActionDigest
	ActionType   string
	Target       string
	BlastRadius  BlastRadius // when it was asked about
	DecisionID   string      // of the decision that opened it
	Requester    string      // the person who asked first
	Needed       int         // how many must approve, as the policy said last
	Approvers    []string    // who has approved, as the policy said last
	OpenedAt     time.Time
	ExpiresAt    time.Time

	ClosedAt          time.Time // zero: open
	ClosedBy          string    // the person whose step closed it; "system" for time
	ReleaseDecisionID string    // of the decision that was made again
	ValidUntil        time.Time // until when a released action may be started

	Events []ApprovalEvent // in order; only where asked for
}

// StatusAt is the status at now: an approval whose time has run out is expired,
// also before that is written down.
func (a *Approval) StatusAt(now time.Time) ApprovalStatus {
	if a.Status == ApprovalPending && !now.Before(a.ExpiresAt) {
		return ApprovalExpired
	}
	return a.Status
}

// Requesters are the people who asked for the action, each once.
func (a *Approval) Requesters() []string {
	var list []string
	for _, e := range a.Events {
		if e.Kind == EventOpened || e.Kind == EventJoined {
			list = append(list, e.Person)
		}
	}
	return list
}

// The kinds of events.
const (
	EventOpened    = "opened"    // somebody asked
	EventJoined    = "joined"    // another person asked for the same action
	EventApprove   = "approve"   // a vote
	EventDeny      = "deny"      // a vote
	EventCancelled = "cancelled" // who asked took it back
	EventExpired   = "expired"   // time ran out
	EventReleased  = "released"  // decided again, and it may run
	EventRefused   = "refused"   // decided again, and it must not run
)

// ApprovalEvent is one step of an approval. It is immutable.
type ApprovalEvent struct {
	Seq       int64 // 1, 2, 3… per approval
	Kind      string
	Status    ApprovalStatus // after it
	Person    string
	Principal string   // name of the credential
	Roles     []string // of the credential at that moment; of votes only
	Comment   string   // why, by the person
	At        time.Time

	// What the policy said, where it was asked; see Release.
	Rule        string
	Rationale   string
	Input       []byte
	BundleHash  string
	DecisionID  string // the decision that it is about: asked, or made again
	ConfigEpoch int64  // current when it committed
	PolicyEpoch int64  // current when it committed
}

// ApprovalStep is what one transaction makes of an approval that stood at
// Version. With Entry, the decision that was made again goes into the gate log
// in the same transaction.
type ApprovalStep struct {
	TenantID, ID string
	Version      int64
	After        Approval // Status, Needed, Approvers, ClosedBy, ReleaseDecisionID and ValidUntil count
	Events       []ApprovalEvent
	Entry        *Entry
	// The epochs that the step was judged under, where it was.
	Judged                   bool
	ConfigEpoch, PolicyEpoch int64
}

// Approvals keeps approvals.
type Approvals interface {
	// Approval returns a tenant's approval with its events, or ErrNotFound.
	Approval(ctx context.Context, tenant, id string) (*Approval, error)
	// Entry returns a tenant's decision with its parameters, where they are
	// still kept, or ErrNotFound.
	Entry(ctx context.Context, tenant, decisionID string) (*Entry, error)
	// StepApproval makes a step in one transaction, and returns the approval
	// after it. Nothing is changed with ErrApprovalMoved (another step was
	// faster, or its time has run out), ErrStaleEpoch or ErrStalePolicy; with
	// ErrUnavailable it is unknown.
	StepApproval(ctx context.Context, step ApprovalStep) (*Approval, error)
}

// Why a step of an approval is not made. Callers test with errors.Is or As.
var (
	// ErrApprovalMoved: the approval is no longer as it was judged.
	ErrApprovalMoved = errors.New("the approval changed meanwhile")
	// ErrParametersGone: what was asked for is not known in full any more.
	ErrParametersGone = errors.New("the parameters of the action are not kept any more")
	// ErrNotRequester: only who asked can take an approval back.
	ErrNotRequester = errors.New("this person did not ask for the action")
	// ErrNoRelease: the active bundle has no data.gate.release.
	ErrNoRelease = errors.New("the active bundle has no rule data.gate.release")
)

// ApprovalClosedError: the approval has ended.
type ApprovalClosedError struct{ Status ApprovalStatus }

func (e *ApprovalClosedError) Error() string { return "the approval is closed: " + string(e.Status) }

// NotCountedError: the policy does not count this vote, and nothing was changed.
type NotCountedError struct{ Rule, Rationale string }

func (e *NotCountedError) Error() string { return e.Rule + ": " + e.Rationale }

// ActionDigest names an action: the SHA-256 of the RFC 8785 form of tenant,
// action type, target and parameters. No parameters and an empty object of them
// are the same action.
func ActionDigest(r *Request) [32]byte {
	parameters := r.Parameters
	if parameters == nil {
		parameters = []byte("{}")
	}
	b := make([]byte, 0, 96+len(r.Target)+len(parameters))
	b = append(b, `{"action_type":`...)
	b = appendString(b, r.ActionType)
	b = append(b, `,"parameters":`...)
	b = append(b, parameters...)
	b = append(b, `,"target":`...)
	b = appendString(b, r.Target)
	b = append(b, `,"tenant":`...)
	b = appendString(b, r.TenantID)
	b = append(b, '}')
	return sha256.Sum256(b)
}

// Askers are the people behind a request: whose credential it was, and on whose
// initiative it came, if on a person's. None of them can approve it.
func (r *Request) Askers() []string {
	person := r.Person
	if person == "" {
		person = r.Principal
	}
	if person == "" {
		person = "unknown" // no credential: not over HTTP
	}
	if user, ok := strings.CutPrefix(r.Actor, "user:"); ok && user != person {
		return []string{person, user}
	}
	return []string{person}
}

// terms is what the bundle's table asks for an action of each radius.
type terms struct {
	Approvers   int    `json:"approvers"`
	Role        string `json:"role"`
	Wait        string `json:"wait"`
	StartWithin string `json:"start_within"`

	wait time.Duration
}

// Bounds of the table.
const (
	minWait, maxWait               = time.Second, 720 * time.Hour
	minStartWithin, maxStartWithin = time.Second, time.Hour
	maxApprovers                   = 16
)

func (t *terms) check() (err error) {
	if t.Approvers < 1 || t.Approvers > maxApprovers {
		return fmt.Errorf("approvers is %d, want 1 to %d", t.Approvers, maxApprovers)
	}
	if t.Role == "" {
		return errors.New("role is missing")
	}
	if t.wait, err = bounded("wait", t.Wait, minWait, maxWait); err != nil {
		return err
	}
	_, err = bounded("start_within", t.StartWithin, minStartWithin, maxStartWithin)
	return err
}

// bounded reads a duration such as 4h, of whole milliseconds.
func bounded(name, text string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: want a duration such as 4h or 60s: %w", name, err)
	}
	if d < low || d > high || d != d.Truncate(time.Millisecond) {
		return 0, fmt.Errorf("%s is %s, want %s to %s in whole milliseconds", name, text, low, high)
	}
	return d, nil
}
