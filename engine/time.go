package engine

import (
	"fmt"
	"strings"
	"time"
)

// ParseTime strictly reads an RFC 3339 time with Z and at most 9 decimals. Go's
// own parser is laxer: it takes offsets, a comma and one-digit hours.
func ParseTime(s string) (time.Time, error) {
	fault := fmt.Errorf("%.64q is no time in RFC 3339 with Z, such as 2026-11-23T08:00:00.000Z", s)
	const seconds = "2006-01-02T15:04:05"
	if len(s) <= len(seconds) || s[len(s)-1] != 'Z' || s[10] != 'T' {
		return time.Time{}, fault
	}
	fraction := s[len(seconds) : len(s)-1]
	if fraction != "" {
		digits, dotted := strings.CutPrefix(fraction, ".")
		if !dotted || digits == "" || len(digits) > 9 || strings.Trim(digits, "0123456789") != "" {
			return time.Time{}, fault
		}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fault
	}
	return t, nil
}
