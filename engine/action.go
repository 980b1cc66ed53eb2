package engine

// Action is one row of the bundle's action table.
type Action struct {
	ActionType  string      `json:"action_type"`
	BlastRadius BlastRadius `json:"-"`
	Description string      `json:"description"`
	Rollback    string      `json:"rollback"`            // how the action is undone, or that it cannot be
	UndoneBy    string      `json:"undone_by,omitempty"` // the action type that undoes it, where one does
	D3FEND      string      `json:"d3fend,omitempty"`
	OpenC2      string      `json:"openc2,omitempty"`
}
