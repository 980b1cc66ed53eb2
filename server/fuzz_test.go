package server

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Whatever arrives, decoding ends in a request that keeps every bound or in a
// problem of the 4xx kind, never in a panic.
func FuzzDecodeDecision(f *testing.F) {
	for _, c := range badDecisions {
		if len(c.body) < 4096 {
			f.Add([]byte(c.body))
		}
	}
	f.Add([]byte(simple))
	f.Add([]byte(`{"action_id":"0197f1c2-0000-7000-8000-000000000000","action_type":"isolate_host","target":"host:wks-042","actor":"user:anna","confidence":0.97,"incident_id":"INC-7","parameters":{"ttl":36e2,"a":[null,"\u0001"]},"read_set":{"snapshot":"g-812","digest":"sha256:0011"}}`))
	f.Add([]byte(decisionWith(`"parameters":{"a":1e20}`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		r, err := parseDecision(body, caller{name: "anna", tenant: "acme"})
		if !bytes.Equal(body, given) {
			t.Fatal("the body was written to")
		}
		if err != nil {
			var p *Problem
			if !errors.As(err, &p) || p.Status < 400 || p.Status > 499 || !utf8.ValidString(p.Detail) {
				t.Fatalf("not a 4xx: %v", err)
			}
			return
		}
		for name, s := range map[string]string{"action_id": r.ActionID, "action_type": r.ActionType, "target": r.Target, "actor": r.Actor, "incident_id": r.IncidentID} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
				t.Fatalf("%s is %q", name, s)
			}
		}
		id, isUser := strings.CutPrefix(r.Actor, "user:")
		switch {
		case r.TenantID != "acme" || r.Principal != "anna":
			t.Fatalf("the caller is %s of %s", r.Principal, r.TenantID)
		case !isActionType(r.ActionType), r.ActionID != "" && (!isUUID(r.ActionID) || strings.ToLower(r.ActionID) != r.ActionID),
			r.Target == "" || len(r.Target) > maxTarget, r.Actor != "system" && (!isUser || id == "" || len(r.Actor) > maxActor),
			len(r.IncidentID) > maxIncident, r.Confidence != nil && !(*r.Confidence >= 0 && *r.Confidence <= 1):
			t.Fatalf("out of bounds: %+v", r)
		}
		for name, raw := range map[string][]byte{"parameters": r.Parameters, "read_set": r.ReadSet} {
			if raw == nil {
				continue
			}
			canonical := jsontext.Value(bytes.Clone(raw))
			if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, raw) || canonical.Kind() != '{' || len(raw) > maxParametersBytes || bytes.Contains(raw, []byte(`\u0000`)) {
				t.Fatalf("%s is %q (%v)", name, raw, err)
			}
		}
		// The RFC 8785 form is the same request.
		canonical := jsontext.Value(bytes.Clone(body))
		if err := canonical.Canonicalize(); err != nil {
			t.Fatal(err)
		}
		again, err := parseDecision(canonical, caller{name: "anna", tenant: "acme"})
		if err != nil && strings.Contains(err.Error(), "digits") {
			return // RFC 8785 writes 1e20 with 21 digits
		}
		if err != nil || again.Digest != r.Digest || again.Target != r.Target || !bytes.Equal(again.Parameters, r.Parameters) {
			t.Fatalf("in RFC 8785 form: %+v, %v; was %+v", again, err, r)
		}
	})
}

// A number is taken only if what a double makes of it is the same number.
func TestNumbersAreKeptAsWritten(t *testing.T) {
	for s, ok := range map[string]bool{
		"0": true, "-0": true, "0.0": true, "0e5": true, "1": true, "10": true, "1.50": true, "1e2": true, "1E+2": true, "0.1": true, "1e-7": true, "5e-324": true,
		"9007199254740992": true, "9007199254740993": false, "9007199254740994": true, "12345678901234567890": false, "-9007199254740993": false,
		"1e308": true, "1e309": false, "1e-400": false, "0.10000000000000001": true, "0.123456789012345678": false, "9007199254740993.0": false, "90071992547409930e-1": false, "9007199254740992.5": false, "1234567.5": true, "0.12345678901234567": true, "1e-99999999999999999999": false, "100000000000000000000": false,
	} {
		if err := checkNumber(s); (err == nil) != ok {
			t.Errorf("%s: %v", s, err)
		}
	}
}
