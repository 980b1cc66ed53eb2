package storetest

import (
	"crypto/sha256"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
)

// Entry makes an entry that a gate could have made: a queued isolate_host of
// the tenant at the epoch, with fresh ids.
func Entry(tenant string, epoch int64) *engine.Entry {
	e := &engine.Entry{
		DecisionID: uuid.Must(uuid.NewV7()).String(),
		Request: engine.Request{
			TenantID: tenant, ActionID: uuid.NewString(), ActionType: "isolate_host", Target: "host:wks-042",
			Actor: "system", Principal: "agent-1", IncidentID: "INC-7",
		},
		Verdict: engine.Verdict{
			Decision: engine.QueuedApproval, Rule: engine.RuleTierRequiresApproval,
			Rationale:   "isolate_host has a HIGH blast radius, and tier L2-Contain runs nothing above LOW by itself. A person must approve it.",
			BlastRadius: engine.High, MaturityTier: 2, TierLabel: engine.TierLabel(2), OverridesApplied: []string{},
		},
		Policy:        engine.PolicyID{Revision: "1.0.0", BundleHash: "sha256:5f2b7d9c1f0e4a8b93c6d1e2f30415263748596a7b8c9d0e1f2a3b4c5d6e7f80"},
		Rollback:      "Release the host with allow_host in the endpoint console.",
		Input:         []byte(`{"now":"2026-11-23T08:00:00.000Z","overrides":[],"request":{"action_type":"isolate_host","actor":"system","target":"host:wks-042"},"tenant":{"id":"` + tenant + `","maturity_tier":2,"stopped":false},"whitelist":[]}`),
		EngineVersion: "tiergate/test opa/1.22.2",
		ConfigEpoch:   epoch,
		DecidedAt:     time.Now().UTC().Truncate(time.Millisecond),
	}
	e.Digest = sha256.Sum256([]byte(e.Target + e.ActionType))
	return e
}
