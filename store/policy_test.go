package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

var upload = engine.ChangeMeta{Actor: "petra", Reason: "the pilot's new rules"}

func hashOf(name string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))) }

// policyWith seeds a store with bundle "a" and keeps the others.
func policyWith(t testing.TB, s *store.Store, others ...string) engine.PolicyHead {
	t.Helper()
	if _, err := s.SeedPolicy(t.Context(), hashOf("a"), "1.0.0", []byte("archive a"), engine.ChangeMeta{Actor: "system", Reason: "first start"}); err != nil {
		t.Fatal(err)
	}
	for i, name := range others {
		if _, err := s.KeepBundle(t.Context(), hashOf(name), fmt.Sprintf("1.%d.0", i+1), []byte("archive "+name), false, upload); err != nil {
			t.Fatal(err)
		}
	}
	head, err := s.PolicyHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func TestLifeOfABundle(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		ctx := t.Context()
		if h, err := s.PolicyHead(ctx); err != nil || h != (engine.PolicyHead{}) {
			t.Fatalf("an empty database: %+v %v", h, err)
		}
		if h := policyWith(t, s, "b"); h != (engine.PolicyHead{ChangeID: 2, Epoch: 1, Active: hashOf("a")}) {
			t.Fatalf("seeded: %+v", h)
		}
		if _, err := s.SeedPolicy(ctx, hashOf("z"), "1.0.0", []byte("z"), upload); !errors.Is(err, engine.ErrStale) {
			t.Errorf("seeded twice: %v", err)
		}
		if added, err := s.KeepBundle(ctx, hashOf("b"), "1.1.0", []byte("other bytes"), false, upload); err != nil || added {
			t.Errorf("uploaded twice: %v %v", added, err)
		}
		move := func(kind, name string, from int64) engine.PolicyHead {
			t.Helper()
			h, err := s.MovePolicy(ctx, engine.PolicyMove{Kind: kind, Hash: hashOf(name), IfChange: from}, upload)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		if h := move(engine.PolicyShadow, "b", 2); h != (engine.PolicyHead{ChangeID: 3, Epoch: 1, Active: hashOf("a"), Shadow: hashOf("b")}) {
			t.Errorf("shadow: %+v", h)
		}
		if h := move(engine.PolicyActivate, "b", 3); h != (engine.PolicyHead{ChangeID: 4, Epoch: 2, Active: hashOf("b")}) {
			t.Errorf("activated: %+v", h)
		}
		for want, m := range map[error]engine.PolicyMove{
			engine.ErrStale:    {Kind: engine.PolicyRollback, Hash: hashOf("a"), IfChange: 3},
			engine.ErrNotFound: {Kind: engine.PolicyRollback, Hash: hashOf("none"), IfChange: 4},
		} {
			if _, err := s.MovePolicy(ctx, m, upload); !errors.Is(err, want) {
				t.Errorf("%+v: %v, want %v", m, err, want)
			}
		}
		if h := move(engine.PolicyRollback, "a", 4); h.Epoch != 3 || h.Active != hashOf("a") {
			t.Errorf("rolled back: %+v", h)
		}
		if h, err := s.PolicyHead(ctx); err != nil || h.ChangeID != 5 {
			t.Errorf("%+v %v", h, err)
		}

		list, err := s.Bundles(ctx, 0, 10)
		if err != nil || len(list) != 2 || list[0].Hash != hashOf("b") || list[1].Hash != hashOf("a") || !list[0].WasActive || list[0].UploadedBy != "petra" || list[0].Revision != "1.1.0" || time.Since(list[0].UploadedAt) > time.Minute {
			t.Errorf("%+v %v", list, err)
		}
		if list, err = s.Bundles(ctx, list[0].ID, 10); err != nil || len(list) != 1 || list[0].Hash != hashOf("a") {
			t.Errorf("the second page: %+v %v", list, err)
		}
		if b, err := s.Bundle(ctx, hashOf("b")); err != nil || b.ID != 2 {
			t.Errorf("%+v %v", b, err)
		}
		for _, bad := range []string{"", "x", hashOf("none"), "a\x00b"} {
			if _, err := s.Bundle(ctx, bad); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("bundle %q: %v", bad, err)
			}
			if _, err := s.BundleArchives(ctx, bad); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("archive %q: %v", bad, err)
			}
			if _, err := s.Proof(ctx, bad, "v"); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("proof %q: %v", bad, err)
			}
		}
		if added, err := s.KeepBundle(ctx, hashOf("b"), "1.1.0", []byte("signed anew"), true, upload); err != nil || added {
			t.Errorf("a copy: %v %v", added, err)
		}
		if a, err := s.BundleArchives(ctx, hashOf("b")); err != nil || len(a) != 2 || !bytes.Equal(a[0], []byte("signed anew")) || !bytes.Equal(a[1], []byte("archive b")) {
			t.Errorf("archives: %s %v", a, err)
		}
		if other, err := s.RevisionHolder(ctx, "1.1.0", hashOf("c")); err != nil || other != hashOf("b") {
			t.Errorf("revision 1.1.0 is %q %v", other, err)
		}
		if other, err := s.RevisionHolder(ctx, "1.1.0", hashOf("b")); err != nil || other != "" {
			t.Errorf("revision 1.1.0 is also %q %v", other, err)
		}

		all, err := s.PolicyHistory(ctx, engine.PolicyHistoryQuery{})
		kinds := ""
		for i, c := range all {
			kinds += fmt.Sprintf(" %s/%d", c.Kind, c.Epoch)
			if c.ID != int64(i)+1 || c.Actor == "" || c.Reason == "" || time.Since(c.At) > time.Minute {
				t.Errorf("change %+v", c)
			}
		}
		if err != nil || kinds != " seed/1 upload/1 shadow/1 activate/2 rollback/3 upload/3" {
			t.Errorf("history:%s %v", kinds, err)
		}
		if got := string(all[3].Before) + string(all[3].After); got != fmt.Sprintf(`{"active":%q,"shadow":%q}{"active":%[2]q,"shadow":null}`, hashOf("a"), hashOf("b")) {
			t.Errorf("the activation says %s", got)
		}
		if got, err := s.PolicyHistory(ctx, engine.PolicyHistoryQuery{AfterID: 2, Limit: 2, From: time.Unix(0, 0), To: time.Now().Add(time.Hour)}); err != nil || len(got) != 2 || got[0].ID != 3 {
			t.Errorf("a page: %+v %v", got, err)
		}
	})
}

func TestProofs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		policyWith(t, s, "b")
		at := time.Now().UTC().Truncate(time.Millisecond)
		for _, p := range []engine.Proof{
			{BundleHash: hashOf("a"), EngineVersion: "v1", Holds: true, Report: []byte(`{"situations":3}`), At: at},
			{BundleHash: hashOf("a"), EngineVersion: "v1", Report: []byte(`{}`), At: at}, // too late: the first stays
			{BundleHash: hashOf("b"), EngineVersion: "v1", Report: []byte(`{"counterexample":"x"}`), At: at},
		} {
			if err := s.SaveProof(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if p, err := s.Proof(t.Context(), hashOf("a"), "v1"); err != nil || !p.Holds || string(p.Report) != `{"situations":3}` || !p.At.Equal(at) {
			t.Errorf("%+v %v", p, err)
		}
		if p, err := s.Proof(t.Context(), hashOf("b"), "v1"); err != nil || p.Holds {
			t.Errorf("%+v %v", p, err)
		}
		if _, err := s.Proof(t.Context(), hashOf("a"), "v2"); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("another engine: %v", err)
		}
		if err := s.SaveProof(t.Context(), engine.Proof{BundleHash: hashOf("none"), EngineVersion: "v1", Report: []byte(`{}`), At: at}); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("of no bundle: %v", err)
		}
	})
}

// Every gate hears of a change that another one made.
func TestPolicyNews(t *testing.T) {
	url := storetest.Postgres(t)
	a, b := storetest.Open(t, url), storetest.Open(t, url)
	time.Sleep(200 * time.Millisecond) // until b listens
	for len(b.PolicyNews()) > 0 {
		<-b.PolicyNews()
	}
	policyWith(t, a)
	select {
	case <-b.PolicyNews():
	case <-time.After(5 * time.Second):
		t.Error("no news")
	}
}

// A gate whose bundle is not the active one writes no row.
func TestAppendUnderAnotherPolicy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		if !store.Fence {
			t.Skip("a build without the fence")
		}
		s := open()
		policyWith(t, s)
		for epoch, want := range map[int64]error{0: engine.ErrStalePolicy, 2: engine.ErrStalePolicy, 1: nil} {
			e := storetest.Entry("acme", 0)
			e.PolicyEpoch, e.Policy.BundleHash = epoch, hashOf("a")
			r := s.Append(t.Context(), []*engine.Entry{e})[0]
			if !errors.Is(r.Err, want) || r.PolicyEpoch != 1 {
				t.Errorf("at %d: %+v", epoch, r)
			}
			if want == nil {
				again := storetest.Entry("acme", 0)
				again.ActionID = e.ActionID // asked again by a gate that is behind: the stored answer
				if r := s.Append(t.Context(), []*engine.Entry{again})[0]; r.Err != nil || !r.Repeated || r.Entry.PolicyEpoch != 1 {
					t.Errorf("repeated: %+v", r)
				}
			}
		}
	})
}

// TestPolicyTablesAreAppendOnly, whoever asks.
func TestPolicyTablesAreAppendOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		policyWith(t, s, "b")
		if err := s.SaveProof(t.Context(), engine.Proof{BundleHash: hashOf("b"), EngineVersion: "v1", Report: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.KeepBundle(t.Context(), hashOf("b"), "1.1.0", []byte("anew"), true, upload); err != nil {
			t.Fatal(err)
		}
		db := storetest.DB(t, url)
		db.SetMaxOpenConns(1)
		refused := func(q string) {
			t.Helper()
			_, err := db.Exec(q)
			if err == nil || !strings.Contains(err.Error(), "append-only") && !strings.Contains(err.Error(), "only moves forward") && !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("%s: %v", q, err)
			}
		}
		statements := []string{
			`UPDATE policy_bundle SET archive = archive`, `DELETE FROM policy_bundle`,
			`UPDATE policy_bundle_copy SET archive = archive`, `DELETE FROM policy_bundle_copy`,
			`UPDATE policy_proof SET holds = holds`, `DELETE FROM policy_proof`,
			`UPDATE policy_change SET reason = 'x'`, `DELETE FROM policy_change`,
			`UPDATE policy_head SET policy_epoch = 0, active_hash = NULL`, `UPDATE policy_head SET change_id = 1`, `DELETE FROM policy_head`,
			`UPDATE policy_head SET active_hash = '` + hashOf("b") + `'`,
		}
		if strings.HasPrefix(url, "sqlite:") {
			statements = append(statements,
				`REPLACE INTO policy_bundle SELECT * FROM policy_bundle`, `REPLACE INTO policy_bundle_copy SELECT * FROM policy_bundle_copy`,
				`REPLACE INTO policy_proof SELECT * FROM policy_proof`, `REPLACE INTO policy_change SELECT * FROM policy_change`,
				`REPLACE INTO policy_head (one) VALUES (1)`)
			for _, q := range statements {
				refused(q)
			}
			return
		}
		statements = append(statements, `TRUNCATE policy_bundle_copy`, `TRUNCATE policy_proof`, `TRUNCATE policy_change`, `TRUNCATE policy_head`)
		for _, q := range statements {
			refused(q)
			refused(`BEGIN; SET LOCAL ROLE tiergate_writer; ` + q)
			if _, err := db.Exec(`ROLLBACK`); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Rows from before bundles were kept stay as they are, and new ones join them.
func TestRowsFromBeforeBundlesWereKept(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		if err := store.MigrateTo(t.Context(), url, 1); err != nil {
			t.Fatal(err)
		}
		db := storetest.DB(t, url)
		old := storetest.Entry("acme", 0)
		digest := "x'" + strings.Repeat("00", 32) + "'"
		statements := []string{`INSERT INTO tenant_head (tenant_id, log_seq) VALUES ('acme', 1)`}
		if strings.HasPrefix(url, "postgres") {
			digest = `'\x` + strings.Repeat("00", 32) + `'`
			statements = append(statements, `SELECT tiergate_ensure_month(now())`)
		}
		at := engine.FormatTime(old.DecidedAt)
		const columns = `tenant_id, log_seq, decision_id, action_id, action_type, target, blast_radius, maturity_tier, decision, rule, rationale, overrides_applied, rollback, actor, principal, input, policy_revision, bundle_hash, engine_version, config_epoch, decided_at, request_digest`
		statements = append(statements,
			`INSERT INTO remediation_gate_log (`+columns+`) VALUES ('acme', 1, '`+old.DecisionID+`', '`+old.ActionID+`', 'isolate_host', 'host:a', 'HIGH', 2, 'queued_approval', 'tier_requires_approval', 'why', '[]', 'how', 'system', 'agent-1', `+digest+`, '1.0.0', 'sha256:old', 'tiergate/0', 0, '`+at+`', `+digest+`)`,
			`INSERT INTO remediation_action (tenant_id, action_id, log_seq, decided_at) VALUES ('acme', '`+old.ActionID+`', 1, '`+at+`')`)
		for _, q := range statements {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		s := storetest.Open(t, url)
		policyWith(t, s)
		next := storetest.Entry("acme", 0)
		next.PolicyEpoch, next.Policy.BundleHash = 1, hashOf("a")
		if r := s.Append(t.Context(), []*engine.Entry{next})[0]; r.Err != nil || r.Entry.LogSeq != 2 {
			t.Fatalf("%+v", r)
		}
		rows, err := s.Entries(t.Context(), "acme", engine.LogQuery{Limit: 5})
		if err != nil || len(rows) != 2 || rows[0].PolicyEpoch != 1 || rows[1].PolicyEpoch != 0 || rows[1].Policy.BundleHash != "sha256:old" {
			t.Errorf("%+v %v", rows, err)
		}
		storetest.CheckLog(t, url, []*engine.Entry{next})
		// A gate of that version cannot write on: it knows nothing of activations.
		_, err = db.Exec(`INSERT INTO remediation_gate_log (` + columns + `) SELECT ` + strings.Replace(columns, "log_seq", "9", 1) + ` FROM remediation_gate_log`)
		if strings.HasPrefix(url, "postgres") && (err == nil || !strings.Contains(err.Error(), "policy_epoch")) {
			t.Errorf("a row without policy_epoch: %v", err)
		}
	})
}
