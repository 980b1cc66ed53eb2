package engine_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/enginetest"
)

// compareOrRefuse compares policy and model on a document, unless its frame or
// JSON is refused.
func compareOrRefuse(t *testing.T, p *engine.Policy, doc []byte) {
	t.Helper()
	if _, err := engine.ParseDocument(doc); err != nil {
		return
	}
	compareWithModel(t, p, doc)
}

// Any JSON as constraints, of every mode and of a whitelist entry: the policy
// agrees with the model, and never fails.
func FuzzConstraints(f *testing.F) {
	p := shippedPolicy(f)
	for _, c := range []string{
		`{}`, `null`, `"all"`, `{"target":"host:a"}`, `{"target":["host:a","host:b"]}`, `{"target_prefix":"host:"}`,
		`{"target_cidr":["10.0.0.0/8","::/0"]}`, `{"not_target_cidr":"10.0.0.0/8","min_confidence":0.95}`, `{"min_confidence":1e-1}`, `{"colour":1}`,
	} {
		f.Add(c, "host:a", uint8(0))
		f.Add(c, "10.0.0.1", uint8(3))
	}
	f.Fuzz(func(t *testing.T, constraints, target string, mode uint8) {
		if !json.Valid([]byte(constraints)) || !utf8.ValidString(target) || target == "" {
			return
		}
		quoted, err := json.Marshal(target)
		if err != nil {
			t.Fatal(err)
		}
		frame := `{"now":"2026-11-23T08:00:00Z","request":{"action_type":"isolate_host","confidence":0.95,"target":` + string(quoted) + `},"tenant":{"id":"acme","maturity_tier":4},`
		if mode %= 4; mode == 3 {
			frame += `"whitelist":[{"id":"w1","action_type":"isolate_host","expires_at":"2027-01-01T00:00:00Z","constraints":` + constraints + `}]}`
		} else {
			frame += `"overrides":[{"mode":"` + []string{"block", "require_approval", "force_auto"}[mode] + `","constraints":` + constraints + `}]}`
		}
		compareOrRefuse(t, p, []byte(frame))

		// What may be written never makes the index leave out what the policy
		// would match.
		c, faults := engine.ParseConstraints([]byte(constraints), true)
		if len(faults) == 0 && len(c.TargetCIDR) > 0 {
			for _, n := range c.TargetCIDR {
				if n != n.Masked() || n.Addr().Is4In6() {
					t.Errorf("%s: %s is not in its shortest form", constraints, n)
				}
			}
		}
	})
}

// Any text as a target: Go, Rego and the model agree on whether it is an
// address or network, and which; so nothing else can pass for one.
func FuzzTarget(f *testing.F) {
	p := shippedPolicy(f)
	for _, s := range []string{
		"10.0.0.1", "ip:10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "2001:db8::/32", "fe80::1%eth0",
		"010.0.0.1", "10.0.0.1/8", "10.0.0.0/08", "１0.0.0.1", "10.0.0.1\u200b", "host:a", "1.2.3.4.", "::1/128", "0x7f.1", "1.2.3", "::ffff:0:0/96",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if !utf8.ValidString(target) || target == "" {
			return
		}
		quoted, err := json.Marshal(target)
		if err != nil {
			t.Fatal(err)
		}
		for _, cidr := range []string{"10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32"} {
			for _, constraint := range []string{"target_cidr", "not_target_cidr"} {
				doc := `{"now":"2026-11-23T08:00:00Z","request":{"action_type":"block_ip","target":` + string(quoted) + `},"tenant":{"id":"acme","maturity_tier":0},` +
					`"overrides":[{"mode":"force_auto","constraints":{"` + constraint + `":"` + cidr + `"}}]}`
				compareOrRefuse(t, p, []byte(doc))
			}
		}
		got, ok := engine.ParseTarget(target)
		want, err := netip.ParsePrefix(strings.TrimPrefix(target, "ip:"))
		if err == nil && want.Masked() == want && !want.Addr().Is4In6() && (!ok || got != want) {
			t.Errorf("%q is the network %s, but was read as %v %s", target, want, ok, got)
		}
		if ok && got.Masked() != got {
			t.Errorf("%q was read as %s, with host bits", target, got)
		}
	})
}

// Any bytes as an input document: a decision or ErrDocument, never anything
// else, and nothing is auto that the model does not call auto.
func FuzzDocument(f *testing.F) {
	p := shippedPolicy(f)
	for _, doc := range enginetest.Corpus(20) {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) { compareOrRefuse(t, p, doc) })
}
