package server

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
)

const maxReason = 1000

// latestExpiry is the first moment that an expiry may not have: Go's and OPA's
// nanoseconds end in 2262.
var latestExpiry = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)

// actionTypeText is how an action type is spelled; isActionType checks it.
const actionTypeText = `^[a-z][a-z0-9_]{1,63}$`

func isActionType(s string) bool {
	if len(s) < 2 || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// isUUID reports whether s is 8-4-4-4-12 hex digits, of either case.
func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

func indexed(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func validMode(m engine.Mode) bool {
	return m == engine.ModeBlock || m == engine.ModeRequireApproval || m == engine.ModeForceAuto
}

// under names a field below another; an empty one is the body itself.
func under(parent, field string) string {
	if parent == "" || field == "" {
		return parent + field
	}
	return parent + "." + field
}

// constraints checks a constraints object that may be left out.
func (f *faults) constraints(parent string, raw jsontext.Value, widening bool) []byte {
	if raw == nil {
		return []byte("{}")
	}
	_, bad := engine.ParseConstraints(raw, widening)
	for _, e := range bad {
		f.add(under(parent, e.Field), "%s", e.Detail)
	}
	return raw
}

// whitelistConstraints also wants a target.
func (f *faults) whitelistConstraints(parent string, raw jsontext.Value) []byte {
	if raw == nil {
		f.add(under(parent, "constraints"), "is required")
		return []byte("{}")
	}
	n := len(*f)
	text := f.constraints(parent, raw, true)
	if c, _ := engine.ParseConstraints(raw, true); len(*f) == n && !c.HasTarget() {
		f.add(under(parent, "constraints"), "must name a target, target_prefix or target_cidr")
	}
	return text
}

// time reads RFC 3339 with Z and at most 3 decimals.
func (f *faults) time(field string, s *string) *time.Time {
	if s == nil {
		return nil
	}
	t, err := parseTime(*s)
	if err != nil {
		f.add(field, "%s", err)
		return nil
	}
	return &t
}

func parseTime(s string) (time.Time, error) {
	t, err := engine.ParseTime(s)
	if err != nil {
		return t, err
	}
	if i := strings.IndexByte(s, '.'); i >= 0 && len(s)-i-2 > 3 {
		return t, fmt.Errorf("at most 3 decimals are taken")
	}
	if t.Year() < 1970 {
		return t, fmt.Errorf("lies before 1970")
	}
	return t, nil
}

// expiry reads a time that must lie ahead.
func (f *faults) expiry(field string, s *string, now time.Time) *time.Time {
	t := f.time(field, s)
	switch {
	case t == nil:
	case !t.After(now):
		f.add(field, "lies in the past")
	case !t.Before(latestExpiry):
		f.add(field, "must lie before 2262-01-01")
	}
	return t
}

func (f *faults) reason(field, s string, required bool) {
	if (!strings.ContainsFunc(s, isInk) && (s != "" || required)) || len(s) > maxReason {
		f.add(field, "must be 1 to %d bytes that can be seen", maxReason)
	}
}

// isInk reports whether a character can be seen.
func isInk(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }
