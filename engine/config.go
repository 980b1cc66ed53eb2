package engine

import (
	"encoding/json"
	"time"
)

// Config is a tenant's dial as a person sees it.
type Config struct {
	TenantID     string
	MaturityTier int
	Stopped      bool
	Overrides    []*Override // ordered by action type, then mode
	Epoch        int64       // 0: never configured
	ChangedBy    string
	ChangedAt    time.Time // zero: never configured
}

// ChangeMeta says who changes the configuration and why.
type ChangeMeta struct {
	Actor  string // name of the credential
	Reason string
	// AcceptNotCovered: the actor takes on what the proof of the bundle that is
	// activated says nothing about. The policy's history shows it.
	AcceptNotCovered bool
}

// ConfigChange is what PUT /config asks for.
type ConfigChange struct {
	MaturityTier     *int        // nil: leave as it is
	Overrides        []*Override // with ReplaceOverrides: the whole new set
	ReplaceOverrides bool
	IfMatch          *int64 // the epoch the caller believes current, nil: any
}

// Change is one accepted write: what was, what is, who, why and when. Changes
// of a tenant have epochs 1,2,3… without gaps, and together rebuild its
// configuration at any past moment (P6).
type Change struct {
	TenantID string
	Epoch    int64
	Kind     string // see the Kind constants
	Before   json.RawMessage
	After    json.RawMessage
	Actor    string
	Reason   string
	At       time.Time
}

// The kinds of changes.
const (
	KindConfig          = "config"           // PUT /config: tier and, if given, all overrides
	KindOverrideSet     = "override_set"     // one override put
	KindOverrideRemove  = "override_remove"  // overrides of one action type removed
	KindWhitelistAdd    = "whitelist_add"    // one entry added
	KindWhitelistRemove = "whitelist_remove" // one entry removed
	KindStop            = "stop"
	KindRelease         = "release"
	KindChannelSet      = "channel_set"    // where announcements go; decides nothing
	KindChannelRemove   = "channel_remove" // no longer
)
