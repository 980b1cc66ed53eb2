package store_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

const peerColumns = `tenant_id, log_seq, decision_id, action_id, action_type, target, blast_radius, maturity_tier, decision, rule, rationale,
	overrides_applied, rollback, actor, principal, incident_id, input, policy_revision, bundle_hash, engine_version, config_epoch, decided_at, request_digest, policy_epoch, approval_id, leaf_index`

func peerValues(e *engine.Entry, seq int64) []any {
	return []any{e.TenantID, seq, e.DecisionID, e.ActionID, e.ActionType, e.Target, "HIGH", 2, "queued_approval", e.Rule, e.Rationale,
		"[]", e.Rollback, e.Actor, e.Principal, e.IncidentID, e.Input, e.Policy.Revision, e.Policy.BundleHash, e.EngineVersion, 0, e.DecidedAt, e.Digest[:], 0, e.DecisionID, seq}
}

// BenchmarkPeers measures what the append is compared with, on the same table:
// one INSERT and commit per decision from 64 callers, which no head, fence or
// action_id holds up, and one caller's COPY of 20,000 rows at a time, the most
// that the table takes.
func BenchmarkPeers(b *testing.B) {
	url := storetest.Postgres(b)
	if err := store.Migrate(b.Context(), url); err != nil {
		b.Fatal(err)
	}
	db := storetest.DB(b, url)
	db.SetMaxIdleConns(64)
	if _, err := db.Exec(`SELECT tiergate_ensure_month(now())`); err != nil {
		b.Fatal(err)
	}
	b.Run("insert/callers=64", func(b *testing.B) {
		stmt, err := db.Prepare(`INSERT INTO remediation_gate_log (` + peerColumns + `) VALUES
			($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)`)
		if err != nil {
			b.Fatal(err)
		}
		defer stmt.Close()
		var next atomic.Int64
		var wg sync.WaitGroup
		b.ResetTimer()
		for range 64 {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
					if _, err := stmt.Exec(peerValues(storetest.Entry("acme", 0), i)...); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("copy/rows=20000", func(b *testing.B) {
		seq := int64(0)
		for b.Loop() {
			tx, err := db.Begin()
			if err != nil {
				b.Fatal(err)
			}
			stmt, err := tx.Prepare(`COPY remediation_gate_log (` + peerColumns + `) FROM STDIN`)
			if err != nil {
				b.Fatal(err)
			}
			for range 20_000 {
				seq++
				if _, err := stmt.Exec(peerValues(storetest.Entry("acme", 0), seq)...); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := stmt.Exec(); err != nil {
				b.Fatal(err)
			}
			stmt.Close()
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}
