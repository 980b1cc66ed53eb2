package engine

// LoggedDecision is a row of the gate log as far as deciding it again needs it.
// It holds text as it was stored, so that a row that says what no gate could
// have said is shown and not lost.
type LoggedDecision struct {
	TenantID         string
	LogSeq           int64
	DecisionID       string
	ActionType       string
	Decision         string
	Rule             string
	Rationale        string
	BlastRadius      string
	MaturityTier     int
	OverridesApplied string // a JSON array of strings
	BundleHash       string
	EngineVersion    string
	Input            []byte
	ParametersDigest string // "" where the request had none
	Parameters       []byte // where they are still kept and were asked for

	// Fault is why the row could not be read; the other fields may then be
	// empty. Nil for a row that was read.
	Fault error
	// Place is where the row came from if not from a database: "line 7".
	Place string
}

// ReadsParameters reports whether the policy's rules may read
// input.request.parameters. Only then does an input document hold them.
func (p *Policy) ReadsParameters() bool { return p.readsParameters }
