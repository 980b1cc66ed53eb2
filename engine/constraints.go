package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// Constraints limits where an override or whitelist entry applies: every key
// that is present must be met. The policy judges them; this Go form exists to
// refuse bad ones when they are written and to index whitelist entries.
type Constraints struct {
	Target        []string       // the target equals one of them
	TargetPrefix  []string       // the target starts with one of them
	TargetCIDR    []netip.Prefix // the target is an address or network inside (or overlapping) one
	NotTargetCIDR []netip.Prefix // the target is an address or network and overlaps none
	MinConfidence *float64       // the request's confidence is at least this
}

// MaxConstraintValues is how many values one key may list.
const MaxConstraintValues = 64

// prefixSeparators are the bytes in which a target_prefix must end, so that
// "10.0.0.1" can never stand for 10.0.0.100.
const prefixSeparators = ".:/-_@"

// FieldError says what is wrong with one field of what somebody wrote.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (e FieldError) Error() string { return e.Field + ": " + e.Detail }

// ParseConstraints checks a constraints object (JSON, or nil for none) against
// the closed vocabulary. widening says whether it is for force_auto or a
// whitelist entry, which take two more keys than block and require_approval.
// Every fault is reported, each with the path of its field below "constraints".
func ParseConstraints(raw []byte, widening bool) (Constraints, []FieldError) {
	var c Constraints
	if raw == nil {
		return c, nil
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil || doc == nil {
		return c, []FieldError{{"constraints", "must be an object"}}
	}
	var faults []FieldError
	for key, value := range doc {
		if err := c.parseKey(key, value, widening); err != nil {
			faults = append(faults, FieldError{"constraints." + key, err.Error()})
		}
	}
	return c, faults
}

func (c *Constraints) parseKey(key string, value json.RawMessage, widening bool) (err error) {
	switch key {
	case "target":
		c.Target, err = parseStrings(value)
	case "target_prefix":
		if c.TargetPrefix, err = parseStrings(value); err != nil {
			return err
		}
		for _, p := range c.TargetPrefix {
			if p == "" || !strings.Contains(prefixSeparators, p[len(p)-1:]) {
				return fmt.Errorf("%q must end in one of %s so that it cannot match half a name", p, prefixSeparators)
			}
		}
	case "target_cidr":
		c.TargetCIDR, err = parseCIDRs(value)
	case "not_target_cidr", "min_confidence":
		if !widening {
			return fmt.Errorf("is taken by force_auto and whitelist entries only")
		}
		if key == "not_target_cidr" {
			c.NotTargetCIDR, err = parseCIDRs(value)
			return err
		}
		var f *float64
		if err := json.Unmarshal(value, &f); err != nil || f == nil || *f < 0 || *f > 1 {
			return fmt.Errorf("must be a number from 0 to 1")
		}
		c.MinConfidence = f
	default:
		return fmt.Errorf("unknown constraint: want target, target_prefix, target_cidr, not_target_cidr or min_confidence")
	}
	return err
}

// parseStrings reads a string or an array of 1..64 strings.
func parseStrings(value json.RawMessage) ([]string, error) {
	fault := fmt.Errorf("must be a string or an array of 1 to %d strings", MaxConstraintValues)
	value = bytes.TrimSpace(value)
	if len(value) > 0 && value[0] == '"' {
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			return nil, fault
		}
		return []string{s}, nil
	}
	var list []*string
	if err := json.Unmarshal(value, &list); err != nil || len(list) == 0 || len(list) > MaxConstraintValues {
		return nil, fault
	}
	out := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			return nil, fault
		}
		out[i] = *s
	}
	return out, nil
}

func parseCIDRs(value json.RawMessage) ([]netip.Prefix, error) {
	list, err := parseStrings(value)
	if err != nil {
		return nil, err
	}
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		p, ok := ParseNetwork(s)
		if !ok {
			return nil, fmt.Errorf("%q is no IPv4 or IPv6 address or network (no zone, no leading zeros, no host bits)", s)
		}
		out[i] = p
	}
	return out, nil
}

// HasTarget reports whether c names targets at all, as a whitelist entry must.
func (c *Constraints) HasTarget() bool {
	return len(c.Target)+len(c.TargetPrefix)+len(c.TargetCIDR) > 0
}

// ParseTarget reports whether a request's target is an address or network and
// which: less an "ip:" prefix if it has one, it parses as ParseNetwork wants it.
func ParseTarget(target string) (netip.Prefix, bool) {
	return ParseNetwork(strings.TrimPrefix(target, "ip:"))
}

// ParseNetwork strictly reads an IPv4 or IPv6 address or network: no zone, no
// leading zeros, no bits set behind the prefix length. An address is the
// network of its full length, and IPv4-mapped IPv6 (RFC 4291, 2.5.5.2) counts
// as the IPv4 it stands for.
func ParseNetwork(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Masked() != p {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, true
}
