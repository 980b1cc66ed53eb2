package engine

import "time"

// LogQuery selects gate log rows of one tenant, newest (highest LogSeq) first.
// Zero fields select everything.
type LogQuery struct {
	From, To     time.Time // From <= decided_at < To
	Decision     Decision
	ActionType   string
	BlastRadius  BlastRadius
	Actor        string
	TargetPrefix string // byte-wise
	IncidentID   string
	Rule         string
	Outcome      OutcomeStatus
	BeforeSeq    int64 // only rows with a smaller LogSeq; 0: from the newest
	Limit        int   // 1..500
}

// ApprovalQuery selects approvals of one tenant, newest first. Zero fields
// select everything.
type ApprovalQuery struct {
	Status      ApprovalStatus // as it is at Now
	ActionType  string
	BlastRadius BlastRadius
	BeforeID    string // only approvals opened before that one
	Limit       int
	Now         time.Time
}

// SummaryRow counts decisions that share decision, radius and rule.
type SummaryRow struct {
	Decision    Decision
	BlastRadius BlastRadius
	Rule        string
	Count       int64
}

// HistoryQuery selects configuration changes of one tenant, oldest first.
type HistoryQuery struct {
	From, To   time.Time // From <= at < To; zero: unbounded
	AfterEpoch int64     // only changes with a higher epoch
	Limit      int
}

// Health is what the store knows about itself.
type Health struct {
	Writable  bool
	ClockSkew time.Duration // database clock minus ours
	// EpochLag is by how many epochs the view is behind the database, summed
	// over tenants.
	EpochLag int64
}
