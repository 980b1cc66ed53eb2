package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

var far = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// matches is the plainest reading of a widening constraint's target keys.
func matches(raw []byte, target string) bool {
	c, faults := engine.ParseConstraints(raw, true)
	if len(faults) > 0 || !c.HasTarget() {
		return false
	}
	if c.Target != nil && !slices.Contains(c.Target, target) {
		return false
	}
	if c.TargetPrefix != nil && !slices.ContainsFunc(c.TargetPrefix, func(p string) bool { return strings.HasPrefix(target, p) }) {
		return false
	}
	if c.TargetCIDR == nil {
		return true
	}
	n, ok := engine.ParseTarget(target)
	return ok && slices.ContainsFunc(c.TargetCIDR, func(p netip.Prefix) bool {
		return p.Addr().Is4() == n.Addr().Is4() && p.Bits() <= n.Bits() && p.Contains(n.Addr())
	})
}

// TestCandidatesAgainstBruteForce: whatever matches is found, in the order of
// ids, and nothing of another tenant or action type, while entries come and go.
func TestCandidatesAgainstBruteForce(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	addr := func() string {
		return pick(fmt.Sprintf("10.%d.%d.%d", r.IntN(2), r.IntN(3), r.IntN(4)), fmt.Sprintf("2001:db8:%x::%x", r.IntN(2), r.IntN(3)))
	}
	name := func() string {
		return pick("host:", "user:", "") + pick("wks-", "srv.", "a_", "") + pick("1", "2", "12")
	}
	network := func() string {
		a := netip.MustParseAddr(addr())
		p, _ := a.Prefix(r.IntN(a.BitLen() + 1))
		if r.IntN(4) == 0 {
			return a.String()
		}
		return p.String()
	}
	target := func() string {
		switch r.IntN(4) {
		case 0:
			return pick("", "ip:") + addr()
		case 1:
			return network()
		}
		return name()
	}
	values := func(one func() string) any {
		if r.IntN(2) == 0 {
			return one()
		}
		return []string{one(), one(), one()}
	}
	constraints := func() []byte {
		doc := map[string]any{}
		for len(doc) == 0 || r.IntN(3) == 0 {
			switch r.IntN(9) {
			case 0, 1:
				doc["target"] = values(target)
			case 2, 3, 4:
				doc["target_prefix"] = values(func() string {
					return pick("host:", "user:", "host:wks-", "host:srv.", "10.0.", "2001:db8:", ":", "a_")
				})
			case 5, 6, 7:
				doc["target_cidr"] = values(network)
			case 8:
				doc["min_confidence"] = 0.5
			}
		}
		if r.IntN(20) == 0 {
			doc[pick("unknown", "target_cidr")] = "10.0.0.1/8" // unsound
		}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tenants, actions := []string{"a", "b"}, []string{"isolate_host", "run_script"}
	entries := map[string]*engine.WhitelistEntry{}
	now := far.Add(-time.Hour)
	for step := range 600 {
		if len(entries) > 60 {
			for id, w := range entries {
				if err := s.DeleteWhitelist(t.Context(), w.TenantID, id, meta); err != nil {
					t.Fatal(err)
				}
				delete(entries, id)
				break
			}
		}
		w, err := s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: pick(tenants...), ActionType: pick(actions...),
			Constraints: constraints(), ExpiresAt: now.Add(time.Duration(r.IntN(10)-2) * time.Minute)}, meta)
		if err != nil {
			t.Fatal(err)
		}
		entries[w.ID] = w
		if step%4 != 0 {
			continue
		}
		for range 20 {
			tenant, action, at := pick(tenants...), pick(actions...), target()
			if at == "" {
				continue
			}
			f, err := s.Facts(tenant, action, at, now)
			if err != nil {
				t.Fatal(err)
			}
			ids := []string{}
			for _, w := range f.Whitelist {
				ids = append(ids, w.ID)
				if w.TenantID != tenant || w.ActionType != action || !now.Before(w.ExpiresAt) {
					t.Fatalf("not a candidate: %+v", w)
				}
			}
			if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
				t.Fatalf("ids %v", ids)
			}
			for id, w := range entries {
				if w.TenantID == tenant && w.ActionType == action && now.Before(w.ExpiresAt) && matches(w.Constraints, at) && !slices.Contains(ids, id) {
					t.Fatalf("%s on %s: missed %s %s", action, at, id, w.Constraints)
				}
			}
		}
	}
}

// TestKeysDoNotCollide: no text in one field can pass for another's.
func TestKeysDoNotCollide(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	add := func(tenant, action, target string) {
		t.Helper()
		c, _ := json.Marshal(map[string]any{"target": target})
		if _, err := s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: tenant, ActionType: action, Constraints: c, ExpiresAt: far}, meta); err != nil {
			t.Fatal(err)
		}
	}
	fields := []string{"a", "a\x00", "\x00a", "a\x01b", "\x01a", "a/b", "a:t", "t"}
	for i, tenant := range fields {
		add(tenant, fields[(i+1)%len(fields)], fields[(i+3)%len(fields)])
	}
	found := 0
	for i, tenant := range fields {
		for j, action := range fields {
			for k, target := range fields {
				f, err := s.Facts(tenant, action, target, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if want := j == (i+1)%len(fields) && k == (i+3)%len(fields); (len(f.Whitelist) > 0) != want {
					t.Errorf("%q %q %q: found %d", tenant, action, target, len(f.Whitelist))
				}
				found += len(f.Whitelist)
			}
		}
	}
	if found != len(fields) {
		t.Errorf("found %d of %d", found, len(fields))
	}
}

func TestTooManyCandidates(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	for i := range engine.MaxCandidates + 1 {
		if _, err := s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: "a", ActionType: "x", Constraints: []byte(`{"target":"t"}`), ExpiresAt: far}, meta); err != nil {
			t.Fatal(err)
		}
		_, err := s.Facts("a", "x", "t", time.Now())
		if got := errors.Is(err, engine.ErrTooManyCandidates); got != (i == engine.MaxCandidates) {
			t.Fatalf("%d entries: %v", i+1, err)
		}
	}
	if f, err := s.Facts("a", "x", "t", far); err != nil || len(f.Whitelist) != 0 {
		t.Errorf("all expired: %v %v", f.Whitelist, err)
	}
}

// BenchmarkFacts looks up the candidates for one target among n entries, three
// of which match, whatever n is.
func BenchmarkFacts(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			s := storetest.Open(b, storetest.SQLite(b))
			if err := store.Fill(s, "acme", "isolate_host", n); err != nil {
				b.Fatal(err)
			}
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				f, err := s.Facts("acme", "isolate_host", "10.1.2.3", now)
				if err != nil || len(f.Whitelist) != 3 {
					b.Fatal(len(f.Whitelist), err)
				}
			}
		})
	}
}
