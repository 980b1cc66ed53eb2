package enginetest

import (
	"encoding/json"
	"math/rand/v2"
)

var (
	actionTypes = []string{"search_siem", "quarantine_file", "block_ip", "isolate_host", "isolate_host", "isolate_host", "suspend_session", "wipe_disk"}
	targets     = []string{
		"10.0.0.1", "ip:10.0.0.1", "IP:10.0.0.1", "10.0.0.100", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "192.168.1.7",
		"::ffff:10.0.0.1", "ip:::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "::ffff:0:0/96", "::fffe:0:0/95", "::fffe:0:0/96", "::/0", "::/80", "::/96", "::8000:0:0/81",
		"2001:db8::1", "2001:DB8::1", "2001:db8::/32", "2001:db8::/33", "fe80::1%eth0", "::1%1/128",
		"010.0.0.1", "10.0.0.1/8", "10.0.0.0/08", "10.0.0.0/8 ", " 10.0.0.1", "10.0.0.1.", "10.0.0", "１0.0.0.1", "10.0.0.1\u200b", "10.0.0.1/32", "10.0.0.1/33", "10.0.0.0/-1", "10.0.0.0/+8", "/8", "10.0.0.0/", "1.2.3.4/8/8",
		"host:wks-042", "HOST:WKS-042", "host:wks-04", "host:wks-0421", "session:abc", "user:anna@example.org", "\u212aelvin", "kelvin", "ſession:abc", "host:",
	}
	scalars = []any{nil, true, false, json.Number("0"), json.Number("1"), json.Number("0.5"), json.Number("0.95"), json.Number("1.5"), json.Number("-0.1"), "0.9", "", map[string]any{}, []any{}}
	times   = []any{
		"2026-11-23T08:00:00Z", "2026-11-23T08:00:00.000Z", "2026-11-23T08:00:00.001Z", "2026-11-23T08:00:00.0010Z", "2026-11-23T08:00:01Z", "2026-11-23T07:59:59.999Z", "2026-11-23T08:00:10Z", "2026-11-23T08:00:10.000Z", "2026-11-23T08:00:10.5Z", "2026-11-23T08:00:09.9Z",
		"2026-12-31T23:59:59Z", "2026-12-31T23:59:60Z", "2027-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2400-02-29T00:00:00Z", "2027-04-31T00:00:00Z", "2027-13-01T00:00:00Z", "9999-12-31T23:59:59Z", "2027-01-01T00:00:00+00:00", "2027-01-01t00:00:00z", "2027-01-01T00:00:00,5Z", "2027-01-01", "never", "", nil, json.Number("1"), true,
	}
	// nows are the times among them that a frame may hold.
	nows = []string{"2026-11-23T08:00:00Z", "2026-11-23T08:00:00.000Z", "2026-11-23T08:00:00.001Z", "2026-11-23T08:00:10Z", "2026-11-23T08:00:10.5Z", "2026-11-23T08:00:09.900Z", "2026-12-31T23:59:59Z"}
	keys = []string{"target", "target", "target_prefix", "target_prefix", "target_cidr", "target_cidr", "target_cidr", "not_target_cidr", "min_confidence", "colour"}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// Document makes a random input document whose frame is right and whose stored
// parts are often wrong, with many values at the boundaries.
func Document(r *rand.Rand) []byte {
	request := map[string]any{"action_type": pick(r, actionTypes), "target": pick(r, targets)}
	if r.IntN(2) == 0 {
		request["confidence"] = pick(r, []json.Number{"0", "0.5", "0.94999", "0.95", "0.950", "0.95000000000000000000001", "0.94999999999999999999999", "1", "1e-1", "9.5e-1"})
	}
	if r.IntN(3) == 0 {
		request["actor"] = pick(r, []string{"system", "user:anna"})
	}
	tenant := map[string]any{"id": "acme", "maturity_tier": pick(r, []int{0, 1, 2, 3, 4, 4, 4, 4})}
	if r.IntN(8) == 0 {
		tenant["stopped"] = r.IntN(2) == 0
	}
	target := request["target"].(string)
	doc := map[string]any{"now": pick(r, nows), "request": request, "tenant": tenant}
	if n := r.IntN(6) - 1; n > 0 {
		var list []any
		for range n - 1 {
			o := map[string]any{"mode": pick(r, []string{"block", "require_approval", "force_auto", "force_auto"})}
			if r.IntN(5) > 0 {
				o["constraints"] = constraints(r, target)
			}
			if r.IntN(3) == 0 {
				o["expires_at"] = pick(r, times)
			}
			list = append(list, o)
		}
		if r.IntN(12) == 0 {
			list = append(list, pick(r, scalars), map[string]any{"mode": pick(r, scalars)}, map[string]any{"mode": "blok"})
		}
		doc["overrides"] = append([]any{}, list...)
	}
	if r.IntN(3) > 0 {
		list := []any{}
		for range r.IntN(4) {
			w := map[string]any{"id": pick(r, []string{"w1", "w2", "W3", "w10", "é"}), "constraints": constraints(r, target)}
			if r.IntN(8) > 0 {
				w["action_type"] = pick(r, []any{request["action_type"], request["action_type"], request["action_type"], "isolate_host", nil})
			}
			if r.IntN(8) > 0 {
				w["expires_at"] = pick(r, times)
				if r.IntN(2) == 0 {
					w["expires_at"] = "2027-01-01T00:00:00Z"
				}
			}
			list = append(list, w)
		}
		if r.IntN(12) == 0 {
			list = append(list, pick(r, scalars), map[string]any{"id": pick(r, scalars), "action_type": request["action_type"],
				"constraints": map[string]any{"target": target}, "expires_at": "2027-01-01T00:00:00Z"})
		}
		doc["whitelist"] = list
		if r.IntN(30) == 0 {
			doc[pick(r, []string{"whitelist", "overrides"})] = pick(r, scalars)
		}
	}
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return b
}

// constraints makes some that are often met by the target.
func constraints(r *rand.Rand, target string) any {
	if r.IntN(12) == 0 {
		return pick(r, scalars)
	}
	c := map[string]any{}
	switch r.IntN(6) {
	case 0, 1:
		c["target"] = []any{"host:other", target}
	case 2:
		c["target_cidr"] = "10.0.0.0/8"
	}
	for range r.IntN(3) {
		key := pick(r, keys)
		c[key] = value(r, key, target)
	}
	return c
}

func value(r *rand.Rand, key, target string) any {
	one := func() any {
		if r.IntN(15) == 0 {
			return pick(r, scalars)
		}
		t := pick(r, targets)
		if r.IntN(3) == 0 {
			t = target
		}
		if key == "target_prefix" && r.IntN(6) > 0 {
			return pick(r, []string{"10.0.0.", "10.", "host:", "HOST:", "host:wks-", "session:", "user:anna@", "ſession:", "ip:", "::ffff:", "host:wks-0"})
		}
		return t
	}
	if key == "min_confidence" {
		return pick(r, append([]any{json.Number("0.95"), json.Number("0.950"), json.Number("0.5"), json.Number("1e0")}, scalars...))
	}
	if r.IntN(2) == 0 {
		return one()
	}
	n := r.IntN(4)
	if r.IntN(20) == 0 {
		n = 63 + r.IntN(3)
	}
	list := []any{}
	for range n {
		list = append(list, one())
	}
	return list
}
