package engine

import (
	"errors"
	"time"
)

// OutcomeStatus is what came of an action.
type OutcomeStatus string

// The outcomes that are reported; OutcomeNone is for queries: let go, and nothing
// was reported.
const (
	OutcomeExecuted   OutcomeStatus = "executed"
	OutcomeFailed     OutcomeStatus = "failed"
	OutcomeRolledBack OutcomeStatus = "rolled_back"
	OutcomeNone       OutcomeStatus = "none"
)

// MaxOutcomes is how many reports one decision takes.
const MaxOutcomes = 64

// DecisionOutcome is one report of what came of an action that was let go.
type DecisionOutcome struct {
	TenantID   string
	DecisionID string
	Seq        int64
	Status     OutcomeStatus
	Detail     string
	Person     string
	Principal  string
	At         time.Time
}

var (
	// ErrNotLetGo: the action was neither auto nor released, so nothing can
	// have come of it.
	ErrNotLetGo = errors.New("the action was not let go")
	// ErrTooManyOutcomes: the decision has MaxOutcomes reports.
	ErrTooManyOutcomes = errors.New("too many outcomes were reported for this decision")
)

// LetGoBy names the decision that let the entry's action run: the entry itself
// when it is an auto, or the one that was made again when its approval was
// released. ok is false where nothing may run. The entry's Approval must be set
// where it has one.
func (e *Entry) LetGoBy() (decisionID string, ok bool) {
	if e.ApprovalID != "" {
		if e.Approval == nil || e.Approval.Status != ApprovalReleased {
			return "", false
		}
		return e.Approval.ReleaseDecisionID, true
	}
	return e.DecisionID, e.Decision == Auto
}
