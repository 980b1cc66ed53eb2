package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// decisionWith is a good request with one more member.
func decisionWith(member string) string {
	return `{"action_type":"search_siem","target":"index:main",` + member + `}`
}

// Every body here is refused, and the answer names the field.
var badDecisions = []struct{ name, body, field string }{
	{"empty", ``, ""},
	{"blank", " \n", ""},
	{"no JSON", `action_type=search_siem`, ""},
	{"a list", `[]`, ""},
	{"a string", `"x"`, ""},
	{"null", `null`, ""},
	{"trailing object", simple + `{}`, ""},
	{"trailing text", simple + `x`, ""},
	{"trailing NUL", simple + "\x00", ""},
	{"BOM", "\ufeff" + simple, ""},
	{"UTF-16", "{\x00\"\x00", ""},
	{"comment", `{/**/"action_type":"search_siem","target":"a"}`, ""},
	{"trailing comma", `{"action_type":"search_siem","target":"a",}`, ""},
	{"NaN", decisionWith(`"confidence":NaN`), "confidence"},
	{"leading zero", decisionWith(`"confidence":00.5`), ""},
	{"plus", decisionWith(`"confidence":+0.5`), "confidence"},
	{"hex", decisionWith(`"confidence":0x1`), ""},
	{"cut off", `{"action_type":"search_siem","target":"a"`, ""},
	{"raw newline in a string", `{"action_type":"search_siem","target":"a` + "\n" + `"}`, "target"},
	{"invalid UTF-8", `{"action_type":"search_siem","target":"a` + "\xff" + `"}`, "target"},
	{"overlong UTF-8", `{"action_type":"search_siem","target":"a` + "\xc0\x80" + `"}`, "target"},
	{"raw lone surrogate", `{"action_type":"search_siem","target":"a` + "\xed\xa0\x80" + `"}`, "target"},
	{"escaped lone surrogate", `{"action_type":"search_siem","target":"a\ud800"}`, "target"},
	{"escaped low surrogate", `{"action_type":"search_siem","target":"a\udc00b"}`, "target"},
	{"lone surrogate in parameters", decisionWith(`"parameters":{"a":"\ud800"}`), "parameters.a"},
	{"lone surrogate in a key", decisionWith(`"a\ud800":1`), ""},
	{"depth 200000", decisionWith(`"parameters":` + strings.Repeat(`{"a":`, 200_000)), "parameters"},
	{"depth 200000 elsewhere", strings.Repeat(`[`, 200_000), ""},
	{"depth 9", decisionWith(`"parameters":` + strings.Repeat(`{"a":`, 9) + `1` + strings.Repeat(`}`, 9)), "parameters"},
	{"unknown key", decisionWith(`"colour":1`), "colour"},
	{"empty key", decisionWith(`"":1`), ""},
	{"duplicate key", decisionWith(`"target":"index:main"`), "target"},
	{"duplicate key, escaped", decisionWith(`"t\u0061rget":"index:main"`), "target"},
	{"duplicate key in parameters", decisionWith(`"parameters":{"a":1,"a":1}`), "parameters.a"},
	{"case variant", decisionWith(`"Target":"x"`), "Target"},
	{"case variant alone", `{"Action_Type":"search_siem","target":"x"}`, "Action_Type"},
	{"tenant in the body", decisionWith(`"tenant_id":"globex"`), "tenant_id"},

	{"no action type", `{"target":"a"}`, "action_type"},
	{"null action type", `{"action_type":null,"target":"a"}`, "action_type"},
	{"number as action type", `{"action_type":1,"target":"a"}`, "action_type"},
	{"empty action type", `{"action_type":"","target":"a"}`, "action_type"},
	{"short action type", `{"action_type":"a","target":"a"}`, "action_type"},
	{"long action type", `{"action_type":"a` + strings.Repeat("b", 64) + `","target":"a"}`, "action_type"},
	{"upper case action type", `{"action_type":"Search_siem","target":"a"}`, "action_type"},
	{"separator in the action type", `{"action_type":"search/siem","target":"a"}`, "action_type"},
	{"newline behind the action type", `{"action_type":"search_siem\n","target":"a"}`, "action_type"},
	{"NUL in the action type", `{"action_type":"search_siem\u0000","target":"a"}`, "action_type"},

	{"no target", `{"action_type":"search_siem"}`, "target"},
	{"empty target", `{"action_type":"search_siem","target":""}`, "target"},
	{"null target", `{"action_type":"search_siem","target":null}`, "target"},
	{"list as target", `{"action_type":"search_siem","target":["a"]}`, "target"},
	{"long target", `{"action_type":"search_siem","target":"` + strings.Repeat("a", 513) + `"}`, "target"},
	{"long target in bytes", `{"action_type":"search_siem","target":"` + strings.Repeat("é", 257) + `"}`, "target"},
	{"NUL in the target", `{"action_type":"search_siem","target":"a\u0000b"}`, "target"},
	{"control in the target", `{"action_type":"search_siem","target":"a\u001fb"}`, "target"},
	{"DEL in the target", `{"action_type":"search_siem","target":"a\u007fb"}`, "target"},
	{"C1 in the target", `{"action_type":"search_siem","target":"a\u0085b"}`, "target"},

	{"null confidence", decisionWith(`"confidence":null`), "confidence"},
	{"true confidence", decisionWith(`"confidence":true`), "confidence"},
	{"text confidence", decisionWith(`"confidence":"1"`), "confidence"},
	{"list confidence", decisionWith(`"confidence":[1]`), "confidence"},
	{"confidence above 1", decisionWith(`"confidence":1.0000001`), "confidence"},
	{"confidence below 0", decisionWith(`"confidence":-0.1`), "confidence"},
	{"confidence 1e400", decisionWith(`"confidence":1e400`), "confidence"},
	{"confidence of 21 digits", decisionWith(`"confidence":0.12345678901234567890`), "confidence"},
	{"confidence of 10^4 digits", decisionWith(`"confidence":0.` + strings.Repeat("1", 10_000)), "confidence"},
	{"huge exponent", decisionWith(`"confidence":1e99999999999999999`), "confidence"},
	{"1e400 in parameters", decisionWith(`"parameters":{"a":[1e400]}`), "parameters.a[0]"},
	{"21 digits in parameters", decisionWith(`"parameters":{"a":123456789012345678901}`), "parameters.a"},

	{"null parameters", decisionWith(`"parameters":null`), "parameters"},
	{"list parameters", decisionWith(`"parameters":[]`), "parameters"},
	{"text parameters", decisionWith(`"parameters":"x"`), "parameters"},
	{"big parameters", decisionWith(`"parameters":{"a":"` + strings.Repeat("a", 16<<10) + `"}`), "parameters"},
	{"NUL in parameters", decisionWith(`"parameters":{"a":"\u0000"}`), "parameters.a"},
	{"NUL in a key of parameters", decisionWith(`"parameters":{"a\u0000":1}`), "parameters.a?"},
	{"control behind parameters", decisionWith(`"parameters":{},"actor":"user:\u0001"`), "actor"},
	{"control in parameters of another", decisionWith(`"read_set":{"parameters":{"a":"\u0001"}}`), "read_set.parameters.a"},

	{"null actor", decisionWith(`"actor":null`), "actor"},
	{"empty actor", decisionWith(`"actor":""`), "actor"},
	{"unknown actor", decisionWith(`"actor":"anna"`), "actor"},
	{"nameless user", decisionWith(`"actor":"user:"`), "actor"},
	{"long actor", decisionWith(`"actor":"user:` + strings.Repeat("a", 124) + `"`), "actor"},
	{"null incident", decisionWith(`"incident_id":null`), "incident_id"},
	{"empty incident", decisionWith(`"incident_id":""`), "incident_id"},
	{"long incident", decisionWith(`"incident_id":"` + strings.Repeat("a", 129) + `"`), "incident_id"},
	{"null action id", decisionWith(`"action_id":null`), "action_id"},
	{"empty action id", decisionWith(`"action_id":""`), "action_id"},
	{"action id no UUID", decisionWith(`"action_id":"INC-7"`), "action_id"},
	{"action id in braces", decisionWith(`"action_id":"{0197f1c2-0000-7000-8000-000000000000}"`), "action_id"},
	{"action id without dashes", decisionWith(`"action_id":"0197f1c2000070008000000000000000"`), "action_id"},
	{"null read set", decisionWith(`"read_set":null`), "read_set"},
	{"text read set", decisionWith(`"read_set":"x"`), "read_set"},
	{"read set without digest", decisionWith(`"read_set":{"snapshot":"a"}`), "read_set.digest"},
	{"read set with more", decisionWith(`"read_set":{"snapshot":"a","digest":"b","c":"d"}`), "read_set.c"},
	{"read set of null", decisionWith(`"read_set":{"snapshot":null,"digest":"b"}`), "read_set.snapshot"},
}

func TestBadDecisions(t *testing.T) {
	r := newRig(t)
	for _, c := range badDecisions {
		for _, path := range []string{"", "/preview"} {
			req := httptest.NewRequest("POST", decisions+path, strings.NewReader(c.body))
			req.Header.Set("Authorization", "Bearer acme-agent")
			req.Header.Set("Content-Type", "application/json")
			got := r.send(req)
			if got.status == http.StatusRequestEntityTooLarge && len(c.body) > maxBody {
				continue
			}
			if got.status != http.StatusBadRequest || got.body["type"] != typeBase+"bad_request" || got.body["status"] != 400.0 {
				t.Errorf("%s: %d %.300s", c.name, got.status, got.raw)
			} else if !slices.Contains(got.fields(), c.field) {
				t.Errorf("%s: fields %v, want %q: %.300s", c.name, got.fields(), c.field, got.raw)
			}
		}
		// In a batch it is refused in its place, or for all; never decided.
		got := r.do("acme-agent", "POST", decisions+"/batch", `{"decisions":[`+c.body+`]}`)
		if strings.Contains(got.raw, `"decision":`) || got.status >= 500 {
			t.Errorf("%s in a batch: %d %.300s", c.name, got.status, got.raw)
		}
	}
	if got := r.must(200, "acme-auditor", "GET", base+"/gate-log", ""); len(got.body["entries"].([]any)) != 0 {
		t.Errorf("a refused request left a row: %.300s", got.raw)
	}
}

// Odd targets are decided like any other: they match nothing they should not.
func TestOddTargetsAreDecided(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", base+"/overrides/block_ip", `{"mode":"force_auto","constraints":{"target_cidr":["10.0.0.0/8","::/0"]},"reason":"lab"}`)
	for target, rule := range map[string]string{
		"10.0.0.1": "force_auto_override", "ip:10.0.0.1": "force_auto_override", "::ffff:10.0.0.1": "force_auto_override",
		"010.0.0.1": "", "10.0.0.1.": "", "10.0.0.1%eth0": "", "10.0.0.1/8": "", "１0.0.0.1": "", "10.0.0.1\u200b": "",
		" 10.0.0.1": "", "fe80::1%eth0": "", "ip:ip:10.0.0.1": "", "IP:10.0.0.1": "",
	} {
		if rule == "" {
			rule = "tier_requires_approval"
		}
		got := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"block_ip","target":"`+target+`"}`)
		if got.body["rule"] != rule {
			t.Errorf("%q: %s, want %s", target, got.body["rule"], rule)
		}
	}
}

func TestSizes(t *testing.T) {
	r := newRig(t)
	pad := func(n int) string { return simple + strings.Repeat(" ", n-len(simple)) }
	r.must(200, "acme-agent", "POST", decisions, pad(maxBody))
	r.must(413, "acme-agent", "POST", decisions, pad(maxBody+1))
	r.must(413, "acme-operator", "PUT", base+"/config", pad(maxBody+1))
	batch := func(n int) string { b := `{"decisions":[` + simple + `]}`; return b + strings.Repeat(" ", n-len(b)) }
	r.must(200, "acme-agent", "POST", decisions+"/batch", batch(maxBatchBody))
	r.must(413, "acme-agent", "POST", decisions+"/batch", batch(maxBatchBody+1))
	// One item of a batch may be no bigger than a request of its own.
	big := `{"action_type":"search_siem","target":"a"` + strings.Repeat(" ", maxBody) + `}`
	got := r.must(200, "acme-agent", "POST", decisions+"/batch", `{"decisions":[`+big+`,`+simple+`]}`)
	if items := got.body["decisions"].([]any); items[0].(map[string]any)["error"].(map[string]any)["status"] != 413.0 || items[1].(map[string]any)["decision"] == nil {
		t.Errorf("%.300s", got.raw)
	}
	// Without a Content-Length.
	for _, c := range []struct{ n, status int }{{maxBody, 200}, {maxBody + 1, 413}} {
		req := httptest.NewRequest("POST", decisions, io.MultiReader(strings.NewReader(pad(c.n))))
		req.Header.Set("Authorization", "Bearer acme-agent")
		req.Header.Set("Content-Type", "application/json")
		if got := r.send(req); got.status != c.status {
			t.Errorf("%d bytes, chunked: %d", c.n, got.status)
		}
	}
}

func TestContentTypes(t *testing.T) {
	r := newRig(t)
	for kind, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, `Application/JSON;charset="UTF-8"`: 200,
		"": 415, "text/plain": 415, "application/json; charset=latin1": 415, "application/x-www-form-urlencoded": 415,
		"application/jsonx": 415, "application/json, text/plain": 415, "multipart/form-data; boundary=a": 415,
	} {
		req := httptest.NewRequest("POST", decisions, strings.NewReader(simple))
		req.Header.Set("Authorization", "Bearer acme-agent")
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		if got := r.send(req); got.status != status {
			t.Errorf("Content-Type %q: %d, want %d", kind, got.status, status)
		}
	}
	r.must(415, "acme-agent", "POST", decisions, simple, "Content-Type", "application/json")
	r.must(415, "acme-agent", "POST", decisions, simple, "Content-Encoding", "gzip")
}

// Numbers and nesting that a slow parser would choke on cost no memory to refuse.
func TestHugeBodiesInLittleMemory(t *testing.T) {
	bodies := map[string]string{
		"a number of 10^6 digits": decisionWith(`"confidence":` + strings.Repeat("1", 1_000_000)),
		"nesting of 200 000":      decisionWith(`"parameters":` + strings.Repeat(`[`, 200_000) + strings.Repeat(`]`, 200_000)),
		"objects, 200 000 deep":   decisionWith(`"parameters":` + strings.Repeat(`{"a":`, 200_000)),
	}
	for name, body := range bodies {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := parseDecision([]byte(body), caller{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		runtime.ReadMemStats(&after)
		if grew := after.TotalAlloc - before.TotalAlloc; grew > 3<<20 {
			t.Errorf("%s: %d bytes allocated for a body of %d", name, grew, len(body))
		}
	}
}

// A request with thousands of faults gets a short answer.
func TestFaultsAreCapped(t *testing.T) {
	r := newRig(t)
	body := `{"action_type":"isolate_host","constraints":{"target":"a"},"expires_at":"2200-01-01T00:00:00Z","reason":"x","notify":["` + strings.Repeat(`x","`, 10_000) + `x"]}`
	got := r.must(400, "acme-operator", "POST", base+"/whitelist", body)
	if len(got.fields()) > maxFaults || !slices.Contains(got.fields(), "notify") || len(got.raw) > 16<<10 {
		t.Errorf("%d fields, %d bytes", len(got.fields()), len(got.raw))
	}
}
