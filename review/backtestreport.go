package review

// BacktestReport is what a [Backtest] found. Its JSON form is part of the
// command line's promise.
type BacktestReport struct {
	Revision    string       `json:"revision"`    // of New
	BundleHash  string       `json:"bundle_hash"` // of New
	Rows        int64        `json:"rows"`        // read, readable or not
	Replayed    int64        `json:"replayed"`    // decided again by the bundle that they name
	Compared    int64        `json:"compared"`    // decided by New
	Violated    int64        `json:"violated"`    // rows that are not what their bundle says
	Changed     int64        `json:"changed"`     // rows that New decides differently
	Widened     int64        `json:"widened"`     // of these, to more autonomy
	OtherText   int64        `json:"other_text"`  // same decision and rule, other words, radius or overrides
	Unreadable  int64        `json:"unreadable"`  // rows from which nothing could be decided
	Violations  []Violation  `json:"violations"`  // samples; the earliest
	Totals      []Total      `json:"totals"`      // of all tenants and action types
	Transitions []Transition `json:"transitions"`
	RuleChanges []RuleChange `json:"rule_changes"` // same decision by another rule
	Skipped     []Skipped    `json:"skipped"`
	Seconds     float64      `json:"seconds"`
	Workers     int          `json:"workers"`
}

// RowsPerSecond is how many rows each worker did in a second.
func (r *BacktestReport) RowsPerSecond() float64 {
	if r.Seconds <= 0 || r.Workers == 0 {
		return 0
	}
	return float64(r.Rows) / r.Seconds / float64(r.Workers)
}

// Sample is one row that stands for a finding.
type Sample struct {
	TenantID   string `json:"tenant_id,omitempty"`
	LogSeq     int64  `json:"log_seq,omitempty"`
	DecisionID string `json:"decision_id,omitempty"`
	Place      string `json:"place,omitempty"`
	Detail     string `json:"detail,omitempty"`
}

// Violation is a row that its own bundle, decided again, does not give.
type Violation struct {
	Sample
	BundleHash    string       `json:"bundle_hash"`
	EngineVersion string       `json:"engine_version"`
	Differences   []Difference `json:"differences"`
}

// Total counts rows that New moves from one decision to another.
type Total struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Widens bool   `json:"widens"`
	Count  int64  `json:"count"`
}

// Transition counts rows of one tenant and action type that New moves from one
// decision to another.
type Transition struct {
	TenantID   string   `json:"tenant_id"`
	ActionType string   `json:"action_type"`
	From       string   `json:"from"`
	To         string   `json:"to"`
	Widens     bool     `json:"widens"`
	Count      int64    `json:"count"`
	Samples    []Sample `json:"samples"`
}

// RuleChange counts rows that keep their decision and get it from another rule.
type RuleChange struct {
	Decision string   `json:"decision"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Count    int64    `json:"count"`
	Samples  []Sample `json:"samples"`
}

// SkipReason says why something of a row could not be done.
type SkipReason string

// The first four make a row unreadable: nothing could be said about it.
const (
	SkipRow        SkipReason = "the row cannot be read"
	SkipNoInput    SkipReason = "the row has no input"
	SkipInput      SkipReason = "the input cannot be read"
	SkipDecision   SkipReason = "the logged decision is none"
	SkipNoBundle   SkipReason = "nobody has the bundle that the row names"
	SkipBundle     SkipReason = "the bundle that the row names cannot be run"
	SkipParameters SkipReason = "the new policy reads parameters, and they were not kept"
	SkipNewFails   SkipReason = "the new policy gives no decision"
)

// unreadable tells whether nothing could be said about the row.
func (s SkipReason) unreadable() bool {
	return s == SkipRow || s == SkipNoInput || s == SkipInput || s == SkipDecision
}

// Skipped counts rows with which something could not be done.
type Skipped struct {
	Reason     SkipReason `json:"reason"`
	BundleHash string     `json:"bundle_hash,omitempty"` // that is missing or cannot be run
	Unreadable bool       `json:"unreadable"`
	Count      int64      `json:"count"`
	Samples    []Sample   `json:"samples"`
}
