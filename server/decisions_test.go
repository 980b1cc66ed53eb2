package server

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const (
	decisions = base + "/decisions"
	simple    = `{"action_type":"search_siem","target":"index:main"}`
)

func TestDecideAnswersAndLogs(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", base+"/config", `{"maturity_tier":1}`)
	got := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"search_siem","target":"index:main","actor":"user:anna","confidence":0.5,"parameters":{"b":1.0,"a":"\u0007"},"incident_id":"INC-7","read_set":{"snapshot":"g-812","digest":"sha256:00"}}`)
	for key, want := range map[string]any{
		"decision": "auto", "rule": "tier_allows", "blast_radius": "MINIMAL", "maturity_tier": 1.0, "tier_label": "L1-Notify",
		"tenant_id": "acme", "config_epoch": 1.0, "log_seq": 1.0,
	} {
		if got.body[key] != want {
			t.Errorf("%s is %v, want %v", key, got.body[key], want)
		}
	}
	for _, key := range []string{"decision_id", "action_id", "rationale", "overrides_applied", "rollback", "policy", "decided_at", "valid_until"} {
		if got.body[key] == nil {
			t.Errorf("%s is missing: %s", key, got.raw)
		}
	}
	row := r.must(200, "acme-agent", "GET", decisions+"/"+got.body["decision_id"].(string), "")
	for key, want := range got.body {
		if fmt.Sprint(row.body[key]) != fmt.Sprint(want) {
			t.Errorf("the row's %s is %v, the answer's %v", key, row.body[key], want)
		}
	}
	for key, want := range map[string]any{"action_type": "search_siem", "target": "index:main", "actor": "user:anna", "confidence": 0.5, "incident_id": "INC-7", "principal": "acme-agent"} {
		if row.body[key] != want {
			t.Errorf("the row's %s is %v, want %v", key, row.body[key], want)
		}
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(`{"a":"\u0007","b":1}`)))
	if row.body["parameters"] != nil || row.body["parameters_digest"] != digest || row.body["engine_version"] == "" {
		t.Errorf("the row: %s", row.raw)
	}
	if got := fmt.Sprint(row.body["read_set"]); got != "map[digest:sha256:00 snapshot:g-812]" {
		t.Errorf("read_set %s", got)
	}
}

func TestValidUntilOnAutoOnly(t *testing.T) {
	r := newRig(t)
	got := r.must(200, "acme-agent", "POST", decisions, simple)
	if got.body["decision"] != "queued_approval" || got.body["valid_until"] != nil {
		t.Errorf("at L0: %s", got.raw)
	}
}

// The same action_id is answered once, whatever the spelling of the body; a
// different body is a conflict.
func TestActionIDIsIdempotent(t *testing.T) {
	r := newRig(t)
	id := uuid.NewString()
	first := r.must(200, "acme-agent", "POST", decisions, `{"action_id":"`+id+`","action_type":"block_ip","target":"10.0.0.1","confidence":0.90}`)
	for _, body := range []string{
		`{"action_id":"` + id + `","action_type":"block_ip","target":"10.0.0.1","confidence":0.90}`,
		` { "target" : "10.0.0.1", "confidence":9e-1, "action_type":"block\u005fip","action_id":"` + strings.ToUpper(id) + `"}`,
	} {
		if again := r.must(200, "acme-agent", "POST", decisions, body); again.raw != first.raw {
			t.Errorf("%s\nanswered %s\nfirst was %s", body, again.raw, first.raw)
		}
	}
	got := r.must(409, "acme-agent", "POST", decisions, `{"action_id":"`+id+`","action_type":"block_ip","target":"10.0.0.2","confidence":0.90}`)
	if got.body["type"] != typeBase+"action_id_conflict" {
		t.Error(got.raw)
	}
	// An id is one id in either case, and is told in lower case.
	upper := strings.ToUpper(uuid.NewString())
	if got := r.must(200, "acme-agent", "POST", decisions, `{"action_id":"`+upper+`","action_type":"block_ip","target":"10.0.0.1"}`); got.body["action_id"] != strings.ToLower(upper) {
		t.Error(got.raw)
	}
	// Another tenant's ids are its own.
	if other := r.must(200, "globex-all", "POST", decisions, `{"action_id":"`+id+`","action_type":"block_ip","target":"10.0.0.2"}`); other.body["log_seq"] != 1.0 {
		t.Error(other.raw)
	}
}

func TestStoredAutoIsSupersededByAChange(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", base+"/config", `{"maturity_tier":1}`)
	body := `{"action_id":"` + uuid.NewString() + `","action_type":"search_siem","target":"index:main"}`
	r.must(200, "acme-agent", "POST", decisions, body)
	r.must(200, "acme-agent", "POST", decisions, body)
	r.must(200, "acme-operator", "PUT", base+"/config", `{"maturity_tier":1}`)
	if got := r.must(409, "acme-agent", "POST", decisions, body); got.body["type"] != typeBase+"decision_superseded" {
		t.Error(got.raw)
	}
}

func TestBatchAnswersInPlace(t *testing.T) {
	r := newRig(t)
	body := `{"decisions":[` + simple + `,{"action_type":"search_siem"},` + simple + `,7,{"action_type":"search_siem","target":"a","target":"b"},{"action_type":"x","target":"a\u0001","Actor":"system"}]}`
	got := r.must(200, "acme-agent", "POST", decisions+"/batch", body)
	items := got.body["decisions"].([]any)
	if len(items) != 6 {
		t.Fatal(got.raw)
	}
	for i, field := range []string{"", "decisions[1].target", "", "decisions[3]", "decisions[4].target", "decisions[5].target"} {
		item := items[i].(map[string]any)
		if field == "" {
			if item["decision"] != "queued_approval" || item["error"] != nil {
				t.Errorf("item %d: %v", i, item)
			}
			continue
		}
		p := item["error"].(map[string]any)
		if first := p["errors"].([]any)[0].(map[string]any); p["status"] != 400.0 || first["field"] != field || len(item) != 1 {
			t.Errorf("item %d: %v, want field %s", i, item, field)
		}
	}
	if a, b := items[0].(map[string]any)["log_seq"], items[2].(map[string]any)["log_seq"]; a != 1.0 || b != 2.0 {
		t.Errorf("log_seq %v and %v", a, b)
	}
	all := strings.Repeat(simple+",", 999) + simple
	if got := r.must(200, "acme-agent", "POST", decisions+"/batch", `{"decisions":[`+all+`]}`); len(got.body["decisions"].([]any)) != 1000 {
		t.Error("not 1000 answers")
	}
	if got := r.must(400, "acme-agent", "POST", decisions+"/batch", `{"decisions":[`+all+`,`+simple+`]}`); fmt.Sprint(got.fields()) != "[decisions]" {
		t.Error(got.raw)
	}
}

func TestBatchFrame(t *testing.T) {
	r := newRig(t)
	for name, body := range map[string]string{
		"empty":             `{"decisions":[]}`,
		"no list":           `{}`,
		"null":              `{"decisions":null}`,
		"an object":         `{"decisions":{}}`,
		"a list":            `[` + simple + `]`,
		"another key":       `{"decisions":[` + simple + `],"x":1}`,
		"another key first": `{"x":1,"decisions":[` + simple + `]}`,
		"twice":             `{"decisions":[` + simple + `],"decisions":[` + simple + `]}`,
		"case":              `{"Decisions":[` + simple + `]}`,
		"trailing":          `{"decisions":[` + simple + `]}{}`,
		"syntax inside":     `{"decisions":[` + simple + `,{"action_type":}]}`,
		"cut off":           `{"decisions":[` + simple,
		"cut off later":     `{"decisions":[` + simple + `]`,
		"invalid UTF-8":     `{"decisions":[` + simple + `,"` + "\xff" + `"]}`,
		"deep":              `{"decisions":[` + strings.Repeat("[", 200_000) + `]}`,
		"not JSON":          `decisions`,
	} {
		if got := r.do("acme-agent", "POST", decisions+"/batch", body); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %.200s", name, got.status, got.raw)
		}
	}
	if got := r.must(200, "acme-auditor", "GET", base+"/gate-log", ""); len(got.body["entries"].([]any)) != 0 {
		t.Error("a refused batch left rows")
	}
}

func TestPreview(t *testing.T) {
	r := newRig(t)
	preview := func(more string) reply {
		t.Helper()
		return r.must(200, "acme-agent", "POST", decisions+"/preview", `{"action_type":"isolate_host","target":"host:wks-042","confidence":0.97`+more+`}`)
	}
	for _, c := range []struct{ more, rule string }{
		{``, "tier_requires_approval"},
		{`,"maturity_tier":4`, "no_whitelist_match"},
		{`,"maturity_tier":4,"whitelist":[{"id":"w1","action_type":"isolate_host","constraints":{"target_prefix":"host:"},"expires_at":"2200-01-01T00:00:00Z"}]`, "whitelist_match"},
		{`,"maturity_tier":4,"whitelist":[{"id":"w1","constraints":{"target_prefix":"host:"},"expires_at":"2020-01-01T00:00:00Z"}]`, "no_whitelist_match"},
		{`,"overrides":[{"mode":"force_auto","constraints":{"min_confidence":0.95},"expires_at":null}]`, "force_auto_override"},
		{`,"overrides":[{"mode":"force_auto"},{"mode":"block"}]`, "block_override"},
	} {
		got := preview(c.more)
		if got.body["rule"] != c.rule {
			t.Errorf("with %s: %s", c.more, got.raw)
		}
		if _, has := got.body["log_seq"]; has {
			t.Errorf("a preview has a log_seq: %s", got.raw)
		}
	}
	for more, field := range map[string]string{
		`,"maturity_tier":5`:                               "maturity_tier",
		`,"maturity_tier":4.0`:                             "maturity_tier",
		`,"maturity_tier":"4"`:                             "maturity_tier",
		`,"overrides":[{"mode":"allow"}]`:                  "overrides[0].mode",
		`,"overrides":[{"mode":"block"},{"mode":"block"}]`: "overrides[1].mode",
		`,"overrides":[{"mode":"block","colour":1}]`:       "overrides[0].colour",
		`,"overrides":{"mode":"block"}`:                    "overrides",
		`,"whitelist":[{"id":"w","constraints":{}}]`:       "whitelist[0].constraints",
		`,"whitelist":[{"constraints":{"target_cidr":"10.0.0.1/8"},"expires_at":"2200-01-01T00:00:00Z"}]`: "whitelist[0].constraints.target_cidr",
	} {
		got := r.must(400, "acme-agent", "POST", decisions+"/preview", `{"action_type":"isolate_host","target":"host:wks-042"`+more+`}`)
		if !slices.Contains(got.fields(), field) {
			t.Errorf("%s: fields %v, want %s", more, got.fields(), field)
		}
	}
	if got := r.must(200, "acme-auditor", "GET", base+"/gate-log", ""); len(got.body["entries"].([]any)) != 0 {
		t.Error("a preview wrote a row")
	}
}

func TestActionsAndMatrix(t *testing.T) {
	r := newRig(t)
	actions := r.must(200, "acme-agent", "GET", base+"/actions", "").body["actions"].([]any)
	matrix := r.must(200, "acme-agent", "GET", base+"/matrix", "").body["matrix"].([]any)
	if len(actions) != 25 || len(matrix) != 25 {
		t.Fatalf("%d actions, %d rows in the matrix, want 25", len(actions), len(matrix))
	}
	for i, a := range actions {
		a, m := a.(map[string]any), matrix[i].(map[string]any)
		if a["action_type"] != m["action_type"] || a["blast_radius"] != m["blast_radius"] || a["rollback"] == "" || m["decision"] != "queued_approval" || m["auto_when"] == "" {
			t.Errorf("%v\n%v", a, m)
		}
	}
}
