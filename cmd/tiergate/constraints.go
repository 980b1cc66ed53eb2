package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/engine"
)

// scopeFlags say for which targets and until when an override or a whitelist
// entry stands. Whether they make sense together is the gate's to say.
type scopeFlags struct {
	target, prefix, cidr, notCIDR []string
	confidence                    string
	expiresAt                     string
	lasts                         string
}

func (f *scopeFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVar(&f.target, "target", nil, "only this target; this and the next three may be given more than once")
	flags.StringArrayVar(&f.prefix, "target-prefix", nil, "only targets that begin so, such as host:lab-")
	flags.StringArrayVar(&f.cidr, "target-cidr", nil, "only addresses in this network, such as 10.0.0.0/8")
	flags.StringArrayVar(&f.notCIDR, "not-target-cidr", nil, "only addresses outside of this network")
	flags.StringVar(&f.confidence, "min-confidence", "", "only with at least this confidence, 0 to 1")
	flags.StringVar(&f.expiresAt, "expires-at", "", "when it ends, such as 2026-12-31 or 2026-12-31T18:00:00Z")
	flags.StringVar(&f.lasts, "for", "", "how long it lasts from now on, such as 90m, 8h or 14d, by the clock of this machine")
	c.MarkFlagsMutuallyExclusive("expires-at", "for")
}

// constraints is the JSON of the flags.
func (f *scopeFlags) constraints() (jsontext.Value, error) {
	c := map[string]any{}
	for key, values := range map[string][]string{"target": f.target, "target_prefix": f.prefix, "target_cidr": f.cidr, "not_target_cidr": f.notCIDR} {
		if len(values) > 0 {
			c[key] = values
		}
	}
	if f.confidence != "" {
		n, err := parseConfidence("--min-confidence", f.confidence)
		if err != nil {
			return nil, err
		}
		c["min_confidence"] = n
	}
	return json.Marshal(c, json.Deterministic(true))
}

// parseConfidence also refuses what only Go takes for a number, such as NaN.
func parseConfidence(flag, s string) (float64, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0 && n <= 1) {
		return 0, fmt.Errorf("%s %s: want a number from 0 to 1", flag, s)
	}
	return n, nil
}

// expiry is the end in the API's words, or empty for none.
func (f *scopeFlags) expiry(now time.Time) (string, error) {
	if f.lasts != "" {
		lasts, err := parseLasting(f.lasts)
		if err != nil {
			return "", fmt.Errorf("--for %s: want a time such as 90m, 8h or 14d", f.lasts)
		}
		return engine.FormatTime(now.Add(lasts)), nil
	}
	at, err := parseDay("--expires-at", f.expiresAt)
	if err != nil || at.IsZero() {
		return "", err
	}
	return engine.FormatTime(at), nil
}

// parseLasting reads a duration, also in days.
func parseLasting(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36500 {
			return 0, errors.New("no days")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = errors.New("not ahead")
	}
	return d, err
}

// constraintsText writes constraints in one line: target_cidr=10.0.0.0/8, or a
// dash for none. Keys that nobody knows yet are shown as well.
func constraintsText(raw jsontext.Value) string {
	var c map[string]jsontext.Value
	if err := json.Unmarshal(raw, &c); err != nil {
		return string(raw)
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, key+"="+valueText(c[key]))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, " ")
}

// valueText writes texts bare, as far as none of them could be read as more than
// one.
func valueText(raw jsontext.Value) string {
	values, ok := texts(raw)
	if !ok || slices.ContainsFunc(values, func(s string) bool { return s == "" || strings.ContainsAny(s, ` ,="[]`) }) {
		return string(raw)
	}
	return strings.Join(values, ",")
}

// texts reads a text or a list of texts.
func texts(raw jsontext.Value) (values []string, ok bool) {
	var one string
	switch raw.Kind() {
	case '"':
		return []string{one}, json.Unmarshal(raw, &one) == nil
	case '[':
		return values, json.Unmarshal(raw, &values) == nil
	}
	return nil, false
}
