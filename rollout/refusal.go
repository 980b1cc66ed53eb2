package rollout

import (
	"encoding/json"
	"errors"
)

// ErrSeed: the bundle for an empty database is none that can decide.
var ErrSeed = errors.New("this bundle cannot decide")

// Kind says which sort of refusal it is.
type Kind string

const (
	BadBundle    Kind = "bad_bundle"     // no bundle, not signed as it must be, or does not compile
	Refused      Kind = "bundle_refused" // the rules of revisions and rollback do not allow it
	StillProving Kind = "proof_running"  // ask again
	ProofFailed  Kind = "proof_failed"   // Report says why
	NotCovered   Kind = "not_covered"    // the proof says nothing about something, and nobody took that on
	Contended    Kind = "policy_busy"    // others change the policy at the same time; ask again
)

// Refusal says why what was asked for was not done. Nothing was changed.
type Refusal struct {
	Kind   Kind
	Detail string          // for whoever asked
	Report json.RawMessage // of the proof, with ProofFailed and NotCovered
}

func (r *Refusal) Error() string { return string(r.Kind) + ": " + r.Detail }
