package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/notary"
)

const logBase = "/api/v1/remediation/log/"

// signing makes a rig whose trees are signed when turn is called.
func signing(t *testing.T) (r *rig, turn func(), keys checkpoint.Keys) {
	t.Helper()
	text, _, err := checkpoint.NewKey("gate.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.ParseSigner(text)
	if err != nil {
		t.Fatal(err)
	}
	var n *notary.Notary
	r = newRig(t, func(o *Options) {
		if n, err = notary.New(notary.Options{Log: o.Store.(notary.Log), Signer: signer}); err != nil {
			t.Fatal(err)
		}
		o.Notary = n
	})
	return r, func() {
		if err := n.Turn(context.Background()); err != nil {
			t.Fatal(err)
		}
	}, n.Keys()
}

func (r *rig) askAs(token string) {
	r.t.Helper()
	r.must(200, token, "POST", "/api/v1/remediation/decisions", `{"action_type":"block_ip","target":"203.0.113.9"}`)
}

func hashOf(t *testing.T, v any) tlog.Hash {
	t.Helper()
	h, err := tlog.ParseHash(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func proofOf(t *testing.T, r reply) (list []tlog.Hash) {
	t.Helper()
	for _, h := range r.body["proof"].([]any) {
		list = append(list, hashOf(t, h))
	}
	return list
}

// Whoever has a checkpoint and its key can check every leaf, and a later
// checkpoint against an earlier one.
func TestProofsHoldAgainstTheCheckpoint(t *testing.T) {
	r, turn, keys := signing(t)
	if got := r.must(404, "acme-auditor", "GET", logBase+"checkpoint", ""); !strings.Contains(got.raw, "within a second") {
		t.Error(got.raw)
	}
	read := func() checkpoint.Checkpoint {
		t.Helper()
		turn()
		got := r.must(200, "acme-auditor", "GET", logBase+"checkpoint", "")
		c, err := checkpoint.Open([]byte(got.raw), keys)
		if err != nil || c.Origin() != "gate.example/acme" {
			t.Fatalf("%s: %v", got.raw, err)
		}
		return c
	}
	r.askAs("acme-agent")
	first := read()
	for range 5 {
		r.askAs("acme-agent")
	}
	second := read()
	for leaf := range second.Size {
		got := r.must(200, "acme-auditor", "GET", fmt.Sprintf(logBase+"proof?leaf=%d&size=%d", leaf, second.Size), "")
		if err := tlog.CheckRecord(proofOf(t, got), second.Size, second.Root, leaf, hashOf(t, got.body["leaf_hash"])); err != nil || got.body["root"] != second.Root.String() {
			t.Errorf("leaf %d: %v %s", leaf, err, got.raw)
		}
	}
	got := r.must(200, "acme-auditor", "GET", fmt.Sprintf(logBase+"consistency?from=%d&to=%d", first.Size, second.Size), "")
	if err := tlog.CheckTree(proofOf(t, got), second.Size, second.Root, first.Size, first.Root); err != nil ||
		got.body["from_root"] != first.Root.String() || got.body["to_root"] != second.Root.String() {
		t.Errorf("%v %s", err, got.raw)
	}
	// Of trees that are the same, nothing is to be proved.
	if got := r.must(200, "acme-auditor", "GET", fmt.Sprintf(logBase+"consistency?from=%d&to=%[1]d", second.Size), ""); len(proofOf(t, got)) != 0 {
		t.Error(got.raw)
	}
}

func TestProofsOfBadInput(t *testing.T) {
	r, turn, _ := signing(t)
	r.askAs("acme-agent")
	r.askAs("globex-all")
	turn()
	for query, status := range map[string]int{
		"proof": 400, "proof?leaf=0": 400, "proof?size=1": 400, "proof?leaf=1&size=1": 400, "proof?leaf=-1&size=1": 400, "proof?leaf=0&size=0": 400,
		"proof?leaf=0&size=+1": 400, "proof?leaf=00&size=1": 400, "proof?leaf=0x0&size=1": 400, "proof?leaf=0&size=1&size=1": 400, "proof?leaf=0&size=1&x=1": 400,
		"proof?leaf=0&size=9007199254740992": 400, "proof?leaf=0&size=99999999999999999999": 400, "proof?leaf=9007199254740990&size=9007199254740991": 404, "proof?leaf=0&size=1000": 404,
		"consistency": 400, "consistency?from=0&to=1": 400, "consistency?from=2&to=1": 400, "consistency?from=1&to=1000": 404, "consistency?from=1&to=1e0": 400,
		"checkpoint?size=1": 400,
	} {
		if got := r.must(status, "acme-auditor", "GET", logBase+query, ""); status == 400 && len(got.fields()) == 0 {
			t.Errorf("%s: %s", query, got.raw)
		}
	}
	// A tenant's log is its auditors'.
	for token, status := range map[string]int{"acme-agent": 403, "acme-operator": 403, "acme-approver": 403, "": 401} {
		for _, path := range []string{"checkpoint", "proof?leaf=0&size=1", "consistency?from=1&to=1"} {
			r.must(status, token, "GET", logBase+path, "")
		}
	}
	mine := r.must(200, "any-auditor", "GET", logBase+"proof?leaf=0&size=1", "", "X-Tenant-ID", "acme")
	theirs := r.must(200, "any-auditor", "GET", logBase+"proof?leaf=0&size=1", "", "X-Tenant-ID", "globex")
	if mine.body["leaf_hash"] == theirs.body["leaf_hash"] {
		t.Error("two tenants have one leaf")
	}
	r.must(404, "any-auditor", "GET", logBase+"proof?leaf=0&size=1", "", "X-Tenant-ID", "nobody")
}

// A gate that signs nothing says what would make it.
func TestCheckpointWithoutAKey(t *testing.T) {
	r := newRig(t)
	r.askAs("acme-agent")
	if got := r.must(404, "acme-auditor", "GET", logBase+"checkpoint", ""); !strings.Contains(got.raw, "--signing-key") {
		t.Error(got.raw)
	}
	if got := r.must(200, "", "GET", "/readyz", ""); got.body["checkpoints"] != nil {
		t.Error(got.raw)
	}
	signed, _, _ := signing(t)
	if got := signed.must(200, "", "GET", "/readyz", ""); fmt.Sprint(got.body["checkpoints"]) != "map[tenants_held:0]" {
		t.Error(got.raw)
	}
}
