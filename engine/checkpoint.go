package engine

// Checkpoint is what a tenant's tree was and, once somebody has signed that, the
// text that says so.
type Checkpoint struct {
	TenantID string
	Size     int64    // how many leaves, 1 or more
	Root     [32]byte // RFC 6962's
	Note     []byte   // as package checkpoint signs it; nil: not signed yet
}

// Setback says how far a tenant has got over a restored backup.
type Setback int

// The steps.
const (
	SetbackUnknown  Setback = iota // nobody has noticed it
	SetbackStopped                 // the tenant was stopped for it
	SetbackReleased                // and an operator has released it since
)
