package store_test

import (
	"strings"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// TestApprovalsAreEvidence: events and outcomes are never changed, what has ended
// never moves, and nothing is released late, by too few, or without its decision,
// whoever asks.
func TestApprovalsAreEvidence(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		g := gateOn(t, s)
		ended, open := mustQueue(t, g, request("acme", "isolate_host", "host:a")), mustQueue(t, g, request("acme", "wipe_disk", "host:b"))
		if _, err := g.Vote(t.Context(), yes(ended, "olga")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.AddOutcome(t.Context(), engine.DecisionOutcome{TenantID: "acme", DecisionID: ended.DecisionID, Status: engine.OutcomeFailed, Person: "soar", Principal: "soar"}); err != nil {
			t.Fatal(err)
		}
		db := storetest.DB(t, url)
		db.SetMaxOpenConns(1)
		release := `UPDATE approval SET status = 'released', version = version + 1, closed_by = 'x', release_decision_id = decision_id, approvers = '["a","b"]', valid_until = expires_at, closed_at = `
		where := ` WHERE approval_id = '` + open.ApprovalID + `'`
		statements := map[string]string{
			`UPDATE approval_event SET person = 'x'`: "append-only", `DELETE FROM approval_event`: "append-only",
			`UPDATE decision_outcome SET status = 'executed'`: "append-only", `DELETE FROM decision_outcome`: "append-only",
			`DELETE FROM approval`: "only moves forward",
			`UPDATE approval SET version = version + 1 WHERE approval_id = '` + ended.ApprovalID + `'`:                     "only moves forward",
			`UPDATE approval SET version = version` + where:                                                                "only moves forward",
			`UPDATE approval SET version = version + 1, target = target, decision_id = '` + ended.DecisionID + `'` + where: "only moves forward",
			release + `expires_at` + where:                                                               "released_in_time",
			strings.Replace(release, `["a","b"]`, `["a"]`, 1) + `opened_at` + where:                      "released_by_enough",
			strings.Replace(release, `release_decision_id = decision_id, `, ``, 1) + `opened_at` + where: "",
			`UPDATE approval SET status = 'denied', version = version + 1` + where:                       "",
		}
		for q, want := range statements {
			if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", q, err, want)
			}
		}
		if !strings.HasPrefix(url, "sqlite:") {
			// What the gate works as may not touch what the question is about.
			for _, q := range []string{
				`UPDATE approval SET expires_at = now()`, `UPDATE approval SET action_digest = action_digest`, `UPDATE approval SET requester = 'x'`, `UPDATE approval SET target = 'x'`,
				`DELETE FROM approval`, `TRUNCATE approval`, `UPDATE approval_event SET person = 'x'`, `DELETE FROM approval_event`, `TRUNCATE approval_event`,
				`UPDATE decision_outcome SET status = 'executed'`, `TRUNCATE decision_outcome`,
			} {
				if _, err := db.Exec(`SET ROLE tiergate_writer; ` + q); err == nil || !strings.Contains(err.Error(), "permission denied") {
					t.Errorf("as the writer: %s: %v", q, err)
				}
			}
			if _, err := db.Exec(`RESET ROLE`); err != nil {
				t.Fatal(err)
			}
			for _, q := range []string{`TRUNCATE approval`, `TRUNCATE approval_event`, `TRUNCATE decision_outcome`} {
				if _, err := db.Exec(q); err == nil {
					t.Errorf("%s: allowed", q)
				}
			}
		}
		storetest.CheckLog(t, url, nil)
	})
}
