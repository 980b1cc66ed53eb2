// Package model is an independent reading of the design in plain Go: the
// decision tree and what "in force" means, written without a look at the Rego.
// Two people who read the same page and wrote it down differently should agree,
// so tests compare the policy with it, and a review judges by it whether an
// override or whitelist entry is in force. It never decides for the gate.
package model

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Answer is what the model decides.
type Answer struct {
	Decision string
	Rule     string
	Applied  []string
}

// Radii is the action table as the design lists it.
var Radii = map[string]string{}

func init() {
	for radius, names := range map[string]string{
		"MINIMAL": "notify_slack create_ticket chatops_verify search_siem ack_alert",
		"LOW":     "quarantine_file capture_forensics add_ioc_to_blocklist run_av_scan create_notable_event suppress_alert",
		"MEDIUM":  "block_ip allow_ip block_domain block_ioc reset_password force_mfa kill_process run_playbook sync_detection_rule update_watcher",
		"HIGH":    "isolate_host disable_user suspend_session run_script",
	} {
		for _, n := range strings.Fields(names) {
			Radii[n] = radius
		}
	}
}

// Decide answers one input document whose frame is right.
func Decide(doc []byte) Answer { return Read(doc).decide() }

// Read reads an input document whose frame is right; it panics on another.
func Read(doc []byte) *Model {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var in map[string]any
	if err := dec.Decode(&in); err != nil {
		panic(err)
	}
	m := &Model{in: in, request: in["request"].(map[string]any)}
	m.target = m.request["target"].(string)
	m.now, _ = when(in["now"])
	return m
}

// Model is an input document as the design reads it.
type Model struct {
	in, request map[string]any
	target      string
	now         time.Time
}

func (m *Model) decide() Answer {
	tenant := m.in["tenant"].(map[string]any)
	tier, _ := tenant["maturity_tier"].(json.Number).Int64()
	radius, known := Radii[m.request["action_type"].(string)]
	if !known {
		radius = "CRITICAL"
	}
	switch {
	case m.InForce("block"):
		return Answer{"blocked", "block_override", []string{"block_override"}}
	case tenant["stopped"] == true:
		return Answer{"queued_approval", "stopped", nil}
	case radius == "CRITICAL":
		return Answer{"queued_approval", "critical_never_auto", nil}
	case m.InForce("require_approval"):
		return Answer{"queued_approval", "approval_override", []string{"require_approval_override"}}
	case m.InForce("force_auto"):
		return Answer{"auto", "force_auto_override", []string{"force_auto_override"}}
	case radius == "HIGH" && tier == 4:
		if id, ok := m.Whitelisted(); ok {
			return Answer{"auto", "whitelist_match", []string{"whitelist:" + id}}
		}
		return Answer{"queued_approval", "no_whitelist_match", nil}
	case tier >= 1 && radius == "MINIMAL", tier >= 2 && radius == "LOW", tier >= 3 && radius == "MEDIUM":
		return Answer{"auto", "tier_allows", nil}
	}
	return Answer{"queued_approval", "tier_requires_approval", nil}
}

// InForce reports whether an override of that mode is in force.
func (m *Model) InForce(mode string) bool {
	list, _ := m.in["overrides"].([]any)
	for _, x := range list {
		o, ok := x.(map[string]any)
		if !ok || o["mode"] != mode {
			continue
		}
		constraints, has := o["constraints"]
		if !has {
			constraints = map[string]any{}
		}
		expires := o["expires_at"]
		at, isTime := when(expires)
		if mode == "force_auto" {
			if (expires == nil || isTime && m.now.Before(at)) && m.widens(constraints) {
				return true
			}
		} else if (!isTime || m.now.Before(at)) && m.narrows(constraints) {
			return true
		}
	}
	return false
}

// Whitelisted returns the smallest id among the whitelist entries in force.
func (m *Model) Whitelisted() (smallest string, found bool) {
	list, _ := m.in["whitelist"].([]any)
	for _, x := range list {
		w, _ := x.(map[string]any)
		c, isObject := w["constraints"].(map[string]any)
		id, isText := w["id"].(string)
		if !isObject || !isText || w["action_type"] != m.request["action_type"] {
			continue
		}
		named := false
		for _, k := range []string{"target", "target_prefix", "target_cidr"} {
			_, has := c[k]
			named = named || has
		}
		at, isTime := when(w["expires_at"])
		if named && isTime && m.now.Before(at) && m.widens(c) && (!found || id < smallest) {
			smallest, found = id, true
		}
	}
	return smallest, found
}

// widens: every constraint is sound and met.
func (m *Model) widens(x any) bool {
	c, ok := x.(map[string]any)
	if !ok {
		return false
	}
	for key, v := range c {
		met := false
		switch key {
		case "target":
			list, ok := texts(v)
			for _, s := range list {
				met = met || ok && s == m.target
			}
		case "target_prefix":
			list, ok := prefixes(v)
			for _, s := range list {
				met = met || ok && strings.HasPrefix(m.target, s)
			}
		case "target_cidr":
			list, ok := networks(v)
			t, isNet := network(strings.TrimPrefix(m.target, "ip:"))
			for _, n := range list {
				met = met || ok && isNet && n.Addr().BitLen() == t.Addr().BitLen() && n.Bits() <= t.Bits() && n.Contains(t.Addr())
			}
		case "not_target_cidr":
			list, ok := networks(v)
			t, isNet := network(strings.TrimPrefix(m.target, "ip:"))
			met = ok && isNet
			for _, n := range list {
				met = met && !overlap(n, t)
			}
		case "min_confidence":
			n, ok1 := v.(json.Number)
			have, ok2 := m.request["confidence"].(json.Number)
			if ok1 && ok2 {
				least, h := exact(n), exact(have)
				met = least.Sign() >= 0 && least.Cmp(big.NewRat(1, 1)) <= 0 && h.Cmp(least) >= 0
			}
		}
		if !met {
			return false
		}
	}
	return true
}

// narrows: no constraint is sound and unmet.
func (m *Model) narrows(x any) bool {
	c, ok := x.(map[string]any)
	if !ok {
		return true
	}
	target := lowerASCII(m.target)
	for key, v := range c {
		sound, met := false, false
		switch key {
		case "target":
			var list []string
			list, sound = texts(v)
			for _, s := range list {
				met = met || lowerASCII(s) == target
			}
		case "target_prefix":
			var list []string
			list, sound = prefixes(v)
			for _, s := range list {
				met = met || strings.HasPrefix(target, lowerASCII(s))
			}
		case "target_cidr":
			var list []netip.Prefix
			list, sound = networks(v)
			t, isNet := network(strings.TrimPrefix(m.target, "ip:"))
			met = !isNet
			for _, n := range list {
				met = met || overlap(n, t)
			}
		}
		if sound && !met {
			return false
		}
	}
	return true
}

// exact: a stored number is compared as it is written, not as a double.
func exact(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		panic("no number: " + n)
	}
	return r
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return string(b)
}

func texts(v any) ([]string, bool) {
	if s, ok := v.(string); ok {
		return []string{s}, true
	}
	list, ok := v.([]any)
	if !ok || len(list) < 1 || len(list) > 64 {
		return nil, false
	}
	var out []string
	for _, x := range list {
		s, ok := x.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

func prefixes(v any) ([]string, bool) {
	list, ok := texts(v)
	for _, s := range list {
		if s == "" || !strings.ContainsRune(".:/-_@", rune(s[len(s)-1])) {
			return nil, false
		}
	}
	return list, ok
}

func networks(v any) ([]netip.Prefix, bool) {
	list, ok := texts(v)
	var out []netip.Prefix
	for _, s := range list {
		p, isNet := network(s)
		if !isNet {
			return nil, false
		}
		out = append(out, p)
	}
	return out, ok
}

func network(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Masked().Addr() != p.Addr() {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), p.Bits() >= 96
	}
	return p, true
}

// overlap: an IPv4 network overlaps an IPv6 one that holds all of ::ffff:0:0/96.
func overlap(a, b netip.Prefix) bool {
	mapped := netip.MustParsePrefix("::ffff:0:0/96")
	if a.Addr().Is4() != b.Addr().Is4() {
		if a.Addr().Is4() {
			a, b = b, a
		}
		return a.Bits() < 96 && mapped.Overlaps(a)
	}
	return a.Overlaps(b)
}

// shape is RFC 3339 with Z; whether the day exists, time.Date says.
var shape = regexp.MustCompile(`^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z$`)

func when(v any) (time.Time, bool) {
	s, _ := v.(string)
	m := shape.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, false
	}
	n := func(i int) int { x, _ := strconv.Atoi(m[i]); return x }
	nanos, _ := strconv.Atoi((m[7] + "000000000")[:9])
	t := time.Date(n(1), time.Month(n(2)), n(3), n(4), n(5), n(6), nanos, time.UTC)
	exists := t.Month() == time.Month(n(2)) && t.Day() == n(3) && n(4) < 24 && n(5) < 60 && n(6) < 60
	return t, exists && n(2) >= 1
}
