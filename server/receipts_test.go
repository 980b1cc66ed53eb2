package server

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/receipt"
)

// giving makes a rig that gives receipts, at L3 for acme, by a clock that the test
// can move.
func giving(t *testing.T) (r *rig, later func(time.Duration)) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	r = newRig(t, func(o *Options) {
		o.Receipts = receipt.NewSigner("gate.example", key, 30*time.Second)
		o.Keys = []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	r.must(200, "acme-operator", "PUT", "/api/v1/remediation/config", `{"maturity_tier":3}`)
	return r, func(d time.Duration) { ahead.Add(int64(d)) }
}

// verify checks a receipt as an executor does that knows the gate's key set.
func (r *rig) verify(token any, target, parameters string) (receipt.Claims, error) {
	r.t.Helper()
	keys, err := receipt.ParseKeys([]byte(r.must(200, "", "GET", "/.well-known/jwks.json", "").raw))
	if err != nil {
		r.t.Fatal(err)
	}
	text, _ := token.(string)
	return receipt.Verify(text, keys, receipt.Want{Tenant: "acme", ActionType: "block_ip", Target: target, Parameters: []byte(parameters), Issuer: "gate.example"}, time.Now())
}

func TestAutoCarriesAReceipt(t *testing.T) {
	r, later := giving(t)
	const id = "0197f1c2-7d1e-7c3a-9b1a-3f0e8a1d2c4b"
	body := `{"action_id":"` + id + `","action_type":"block_ip","target":"203.0.113.9","parameters":{"ttl":3600,"b":[1.50]}}`
	got := r.must(200, "acme-agent", "POST", decisions, body)
	c, err := r.verify(got.body["receipt"], "203.0.113.9", `{"b": [1.5], "ttl": 3600}`)
	if err != nil {
		t.Fatal(err)
	}
	row, err := r.options.Store.Entry(t.Context(), "acme", c.DecisionID)
	if err != nil || c.DecisionID != got.body["decision_id"] || c.ActionID != id || float64(c.LogSeq) != got.body["log_seq"] || c.Grant != receipt.GrantAuto ||
		c.BundleHash != row.Policy.BundleHash || c.ParametersDigest != row.ParametersDigest || c.ExpiresAt != c.IssuedAt+30 || c.IssuedAt != row.DecidedAt.Unix() {
		t.Errorf("%+v of %s %v", c, got.raw, err)
	}
	// The leaf that it names is in the tree.
	hash, _ := base64.StdEncoding.DecodeString(c.LeafHash)
	size := c.LeafIndex + 1
	root, err := r.options.Store.TreeRoot(t.Context(), "acme", size)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := r.options.Store.TreeProof(t.Context(), "acme", c.LeafIndex, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckRecord(proof, size, root, c.LeafIndex, tlog.Hash(hash)); err != nil {
		t.Error(err)
	}
	// What an agent may try with it.
	for _, bad := range []struct{ target, parameters string }{{"203.0.113.10", `{"b":[1.5],"ttl":3600}`}, {"203.0.113.9", `{"b":[1.5],"ttl":86400}`}, {"203.0.113.9", ``}} {
		if _, err := r.verify(got.body["receipt"], bad.target, bad.parameters); !errors.Is(err, receipt.ErrOther) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	// A lost answer is asked for again and has the same receipt, while it is good.
	later(20 * time.Second)
	if again := r.must(200, "acme-agent", "POST", decisions, body); again.body["receipt"] != got.body["receipt"] {
		t.Errorf("again: %s", again.raw)
	}
	later(15 * time.Second)
	if late := r.must(200, "acme-agent", "POST", decisions, body); late.body["receipt"] != nil {
		t.Errorf("after it has run out: %s", late.raw)
	}
	batch := r.must(200, "acme-agent", "POST", decisions+"/batch", `{"decisions":[{"action_type":"block_ip","target":"a"},{"action_type":"isolate_host","target":"host:b"}]}`)
	var items struct{ Decisions []struct{ Receipt string } }
	if err := json.Unmarshal([]byte(batch.raw), &items); err != nil || items.Decisions[1].Receipt != "" {
		t.Errorf("%s %v", batch.raw, err)
	}
}

// Nothing but an action that is let go has a receipt, and nobody but who asks.
func TestWhatHasNoReceipt(t *testing.T) {
	r, _ := giving(t)
	auto := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"block_ip","target":"203.0.113.9"}`)
	id := auto.body["decision_id"].(string)
	if auto.body["receipt"] == nil {
		t.Fatal(auto.raw)
	}
	for name, got := range map[string]reply{
		"queued":        r.must(200, "acme-agent", "POST", decisions, `{"action_type":"isolate_host","target":"host:b"}`),
		"critical":      r.must(200, "acme-agent", "POST", decisions, `{"action_type":"no_such_action","target":"host:b"}`),
		"a preview":     r.must(200, "acme-agent", "POST", decisions+"/preview", `{"action_type":"block_ip","target":"203.0.113.9"}`),
		"an auditor":    r.must(200, "acme-auditor", "GET", decisions+"/"+id, ""),
		"read by agent": r.must(200, "acme-agent", "GET", decisions+"/"+id, ""),
	} {
		if got.body["receipt"] != nil {
			t.Errorf("%s: %s", name, got.raw)
		}
	}
	log := r.must(200, "acme-auditor", "GET", "/api/v1/remediation/gate-log", "")
	for _, e := range log.body["entries"].([]any) {
		if e.(map[string]any)["receipt"] != nil {
			t.Errorf("the gate log: %v", e)
		}
	}
	r.must(200, "acme-operator", "PUT", "/api/v1/remediation/overrides/block_ip", `{"mode":"block","reason":"x"}`)
	if got := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"block_ip","target":"203.0.113.9"}`); got.body["decision"] != "blocked" || got.body["receipt"] != nil {
		t.Errorf("blocked: %s", got.raw)
	}
	plain := newRig(t)
	plain.must(200, "acme-operator", "PUT", "/api/v1/remediation/config", `{"maturity_tier":3}`)
	if got := plain.must(200, "acme-agent", "POST", decisions, `{"action_type":"block_ip","target":"203.0.113.9"}`); got.body["decision"] != "auto" || got.body["receipt"] != nil {
		t.Errorf("without a key: %s", got.raw)
	}
	if got := plain.must(200, "", "GET", "/.well-known/jwks.json", ""); got.raw != `{"keys":[]}` {
		t.Errorf("without a key: %s", got.raw)
	}
}

// What people have released has a receipt for the agent that waits, and for
// nobody who only reads.
func TestReleaseCarriesAReceipt(t *testing.T) {
	r, later := giving(t)
	r.must(200, "acme-operator", "PUT", "/api/v1/remediation/overrides/block_ip", `{"mode":"require_approval","reason":"x"}`)
	queued := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"block_ip","target":"203.0.113.9"}`)
	path := decisions + "/" + queued.body["decision_id"].(string)
	if got := r.must(200, "acme-agent", "GET", path, ""); got.body["receipt"] != nil {
		t.Errorf("before the approval: %s", got.raw)
	}
	approval := queued.body["approval"].(map[string]any)["id"].(string)
	waited := make(chan reply, 1)
	go func() { waited <- r.do("acme-agent", "GET", path+"?wait=20s", "") }()
	if got := r.must(200, "acme-approver", "POST", approvals+"/"+approval+"/approve", `{"comment":"yes"}`); got.body["status"] != "released" || got.body["receipt"] != nil {
		t.Fatal(got.raw)
	}
	got := <-waited
	c, err := r.verify(got.body["receipt"], "203.0.113.9", "")
	if err != nil || c.Grant != receipt.GrantApproval || c.DecisionID == queued.body["decision_id"] || c.DecisionID != got.body["approval"].(map[string]any)["release_decision_id"] {
		t.Fatalf("%+v %v %s", c, err, got.raw)
	}
	if l, err := r.options.Store.LeafOf(t.Context(), "acme", c.LogSeq); err != nil || l.Index != c.LeafIndex {
		t.Errorf("%+v %+v %v", l, c, err)
	}
	if by := r.must(200, "acme-agent", "GET", decisions+"/"+c.DecisionID, ""); fmt.Sprint(by.body["receipt"]) != got.body["receipt"] {
		t.Errorf("the decision that was made again: %s", by.raw)
	}
	for _, token := range []string{"acme-approver", "acme-auditor"} {
		if got := r.must(200, token, "GET", path, ""); got.body["receipt"] != nil {
			t.Errorf("%s: %s", token, got.raw)
		}
	}
	later(31 * time.Second)
	if got := r.must(200, "acme-agent", "GET", path, ""); got.body["receipt"] != nil {
		t.Errorf("after it has run out: %s", got.raw)
	}
}
