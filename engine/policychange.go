package engine

import (
	"encoding/json"
	"time"
)

// PolicyHead is which bundles the deployment, all its gates, runs.
type PolicyHead struct {
	ChangeID int64  // ID of the newest PolicyChange; 0: there is none
	Epoch    int64  // 1,2,3… raised by each change of the active bundle; 0: none was ever active
	Active   string // bundle hash; "" with Epoch 0
	Shadow   string // hash of the bundle that decides beside it; "": none
}

// KeptBundle is a bundle that the database keeps, for ever, less its bytes.
type KeptBundle struct {
	ID         int64 // of the PolicyChange that brought it: newer bundles have higher ones
	Hash       string
	Revision   string
	UploadedBy string
	UploadedAt time.Time
	WasActive  bool // at some moment, perhaps this one
}

// PolicyChange is one accepted change of what the deployment runs.
type PolicyChange struct {
	ID         int64 // 1,2,3… without gaps
	Epoch      int64 // of the active bundle after it
	Kind       string
	BundleHash string
	Before     json.RawMessage // {"active","shadow"}: hash or null
	After      json.RawMessage // and "accepted_not_covered": true where the activation accepted that
	Actor      string
	Reason     string
	At         time.Time
}

// The kinds of policy changes. Seed, activate and rollback raise the epoch.
const (
	PolicySeed       = "seed"        // the first bundle of an empty database, kept and activated
	PolicyUpload     = "upload"      // a bundle kept
	PolicyActivate   = "activate"    // a newer bundle made active
	PolicyRollback   = "rollback"    // a bundle made active that was so before
	PolicyShadow     = "shadow"      // a bundle decides beside the active one
	PolicyShadowStop = "shadow_stop" // …no more
)

// PolicyMove is a change of which bundle is active or shadow.
type PolicyMove struct {
	Kind     string // PolicyActivate, PolicyRollback, PolicyShadow or PolicyShadowStop
	Hash     string // of a kept bundle
	IfChange int64  // the ChangeID of the head that the caller judged
}

// Proof is what was found out about a bundle under one engine version.
type Proof struct {
	BundleHash    string
	EngineVersion string
	Holds         bool
	Report        json.RawMessage // JSON, for people and tools
	At            time.Time
}

// PolicyHistoryQuery selects policy changes, oldest first.
type PolicyHistoryQuery struct {
	From, To time.Time // From <= at < To; zero: unbounded
	AfterID  int64     // only changes with a higher ID
	Limit    int
}
