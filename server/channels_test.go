package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
)

const (
	channels      = base + "/channels"
	announcements = base + "/announcements"
)

// quietly is a whitelist entry whose use is announced.
const announced = `{"action_type":"isolate_host","constraints":{"target":"host:wks-042"},"expires_at":"2200-01-01T00:00:00Z","reason":"pilot","notify":["slack:#soc","teams:soc"]}`

// What is secret of a channel is shown once, if the gate made it, and never again:
// in no answer, no list and no history.
func TestChannelSecretsAreNotShown(t *testing.T) {
	r := newRig(t)
	const url = "https://hooks.example/hooks/T0-pa55word"
	made := r.must(200, "acme-operator", "PUT", channels+"/siem", `{"format":"webhook","url":"`+url+`","approvals":true,"reason":"the SIEM keeps a copy"}`)
	secret, _ := made.body["secret"].(string)
	if !strings.HasPrefix(secret, "whsec_") || made.body["origin"] != "https://hooks.example" || made.body["approvals"] != true || made.body["key_id"] == "" {
		t.Fatalf("made: %s", made.raw)
	}
	again := r.must(200, "acme-operator", "PUT", channels+"/siem", `{"format":"webhook","approvals":false,"reason":"no"}`)
	if again.body["key_id"] != made.body["key_id"] || again.body["url_digest"] != made.body["url_digest"] || again.body["secret"] != nil || again.body["approvals"] != false {
		t.Errorf("what was left out changed: %s", again.raw)
	}
	own := r.must(200, "acme-operator", "PUT", channels+"/siem", `{"format":"webhook","secret":"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz","reason":"ours"}`)
	if own.body["secret"] != nil || own.body["key_id"] == made.body["key_id"] {
		t.Errorf("a key of our own: %s", own.raw)
	}
	if other := r.must(200, "acme-operator", "PUT", channels+"/siem", `{"format":"webhook","new_secret":true,"reason":"leaked"}`); other.body["secret"] == nil || other.body["secret"] == secret {
		t.Errorf("another key: %s", other.raw)
	}
	for _, path := range []string{channels, channels + "/siem", base + "/config/history", base + "/config", announcements} {
		got := r.must(200, "acme-all", "GET", path, "")
		if strings.Contains(got.raw, "pa55word") || strings.Contains(got.raw, "whsec_") || strings.Contains(got.raw, strings.TrimPrefix(secret, "whsec_")) {
			t.Errorf("%s shows %s", path, got.raw)
		}
	}
	history := r.must(200, "acme-auditor", "GET", base+"/config/history", "")
	if n := len(history.body["entries"].([]any)); n != 4 || !strings.Contains(history.raw, `"channel_set"`) {
		t.Errorf("the history: %s", history.raw)
	}
}

func TestChannelsOfTenantsAndRoles(t *testing.T) {
	r := newRig(t)
	body := `{"format":"slack","url":"https://hooks.example/x","reason":"r"}`
	r.must(200, "acme-operator", "PUT", channels+"/soc", body)
	for _, token := range []string{"acme-agent", "acme-approver", "acme-auditor"} {
		for _, c := range [][2]string{{"PUT", "/soc"}, {"DELETE", "/soc?reason=r"}, {"POST", "/soc/test"}, {"POST", "/soc/replay"}} {
			r.must(403, token, c[0], channels+c[1], body)
		}
	}
	r.must(403, "acme-agent", "GET", channels, "")
	r.must(200, "acme-auditor", "GET", channels+"/soc", "")
	for _, c := range [][2]string{{"GET", "/soc"}, {"DELETE", "/soc?reason=r"}, {"POST", "/soc/test"}, {"POST", "/soc/replay"}} {
		r.must(404, "globex-all", c[0], channels+c[1], "")
	}
	test := r.must(202, "acme-operator", "POST", channels+"/soc/test", "")
	id := test.body["id"].(string)
	r.must(200, "acme-auditor", "GET", announcements+"/"+id, "")
	r.must(404, "globex-all", "GET", announcements+"/"+id, "")
	r.must(404, "globex-all", "POST", announcements+"/"+id+"/replay", "")
	if got := r.must(409, "acme-operator", "POST", announcements+"/"+id+"/replay", ""); problemType(got) != "not_dead" {
		t.Errorf("replayed what waits: %s", got.raw)
	}
	r.must(204, "acme-operator", "DELETE", channels+"/soc?reason=gone", "")
	r.must(404, "acme-operator", "GET", channels+"/soc", "")
	if got := r.must(200, "acme-auditor", "GET", announcements+"?status=dead&channel=soc", ""); !strings.Contains(got.raw, "removed") {
		t.Errorf("what waited for a removed channel: %s", got.raw)
	}
	for i := range engine.MaxChannels {
		r.must(200, "acme-operator", "PUT", fmt.Sprintf("%s/c%d", channels, i), body)
	}
	if got := r.must(409, "acme-operator", "PUT", channels+"/more", body); problemType(got) != "too_many_channels" {
		t.Errorf("one too many: %s", got.raw)
	}
	r.must(200, "acme-operator", "PUT", channels+"/c1", body)
	page := r.must(200, "acme-operator", "GET", channels+"?limit=60", "")
	rest := r.must(200, "acme-operator", "GET", channels+"?limit=60&cursor="+page.body["next_cursor"].(string), "")
	if len(page.body["entries"].([]any)) != 60 || len(rest.body["entries"].([]any)) != engine.MaxChannels-60 || rest.body["next_cursor"] != nil {
		t.Errorf("pages: %s", rest.raw)
	}
}

// Bad channels are told field by field, and change nothing.
func TestBadChannels(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct{ body, field string }{
		"no format":            {`{"url":"https://hooks.example/x","reason":"r"}`, "format"},
		"another format":       {`{"format":"irc","url":"https://hooks.example/x","reason":"r"}`, "format"},
		"no url":               {`{"format":"slack","reason":"r"}`, "url"},
		"plain http":           {`{"format":"slack","url":"http://hooks.example/x","reason":"r"}`, "url"},
		"documentation":        {`{"format":"slack","url":"https://203.0.113.9/x","reason":"r"}`, "url"},
		"loopback":             {`{"format":"slack","url":"https://127.0.0.1/x","reason":"r"}`, "url"},
		"metadata":             {`{"format":"slack","url":"https://169.254.169.254/latest","reason":"r"}`, "url"},
		"mapped loopback":      {`{"format":"slack","url":"https://[::ffff:127.0.0.1]/x","reason":"r"}`, "url"},
		"localhost":            {`{"format":"slack","url":"https://localhost/x","reason":"r"}`, "url"},
		"password":             {`{"format":"slack","url":"https://u:p@hooks.example/x","reason":"r"}`, "url"},
		"file":                 {`{"format":"slack","url":"file:///etc/passwd","reason":"r"}`, "url"},
		"newline":              {`{"format":"slack","url":"https://hooks.example/x%0a\n","reason":"r"}`, ""},
		"no reason":            {`{"format":"slack","url":"https://hooks.example/x"}`, "reason"},
		"key of a chat":        {`{"format":"teams","url":"https://hooks.example/x","new_secret":true,"reason":"r"}`, "secret"},
		"short key":            {`{"format":"webhook","url":"https://hooks.example/x","secret":"whsec_AAAA","reason":"r"}`, "secret"},
		"key in clear":         {`{"format":"webhook","url":"https://hooks.example/x","secret":"hunter2","reason":"r"}`, "secret"},
		"two keys":             {`{"format":"webhook","url":"https://hooks.example/x","secret":"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz","new_secret":true,"reason":"r"}`, "new_secret"},
		"unknown field":        {`{"format":"slack","url":"https://hooks.example/x","reason":"r","redirect":true}`, "redirect"},
		"null":                 {`{"format":"slack","url":null,"reason":"r"}`, ""},
		"an answer's own keys": {`{"format":"slack","url":"https://hooks.example/x","reason":"r","origin":"https://a"}`, "origin"},
	} {
		got := r.must(400, "acme-operator", "PUT", channels+"/soc", c.body)
		if c.field != "" && fmt.Sprint(got.fields()) != "["+c.field+"]" {
			t.Errorf("%s: %s", name, got.raw)
		}
		if strings.Contains(got.raw, "hunter2") {
			t.Errorf("%s: the secret is quoted: %s", name, got.raw)
		}
	}
	for _, name := range []string{"UPPER", "a%2Fb", "%2e%2e", "-x", strings.Repeat("x", 64), "a%00"} {
		if got := r.do("acme-operator", "PUT", channels+"/"+name, `{"format":"slack","url":"https://hooks.example/x","reason":"r"}`); got.status != 404 && got.status != 400 {
			t.Errorf("channel %s: %d %s", name, got.status, got.raw)
		}
	}
	r.must(404, "acme-operator", "GET", announcements+"/x", "")
	r.must(400, "acme-operator", "POST", channels+"/soc/test", `{"url":"https://a.example"}`)
	r.must(400, "acme-operator", "POST", channels+"/soc/replay", `{}`)
	r.must(400, "acme-operator", "GET", announcements+"?status=lost", "")
	r.must(400, "acme-operator", "GET", announcements+"?cursor=x", "")
	if got := r.must(200, "acme-operator", "GET", base+"/config", ""); got.body["config_epoch"] != 0.0 {
		t.Errorf("a refused channel changed something: %s", got.raw)
	}
}

// Who adds a whitelist entry is told which of its targets name no channel; what
// goes there is kept, and can be replayed.
func TestTargetsWithoutAChannel(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", base+"/config", `{"maturity_tier":4}`)
	r.must(200, "acme-operator", "PUT", channels+"/soc", `{"format":"slack","url":"https://hooks.example/x","reason":"r"}`)
	added := r.must(201, "acme-operator", "POST", base+"/whitelist", announced)
	if list, _ := added.body["unresolved_notify"].([]any); len(list) != 1 || !strings.Contains(fmt.Sprint(list), "teams:soc") {
		t.Errorf("added: %s", added.raw)
	}
	got := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"isolate_host","target":"host:wks-042"}`)
	if got.body["rule"] != "whitelist_match" {
		t.Fatalf("decided: %s", got.raw)
	}
	if _, err := r.options.Store.(*store.Store).Expand(t.Context()); err != nil {
		t.Fatal(err)
	}
	list := r.must(200, "acme-auditor", "GET", announcements, "").body["entries"].([]any)
	if len(list) != 2 {
		t.Fatalf("announced: %v", list)
	}
	dead := r.must(200, "acme-auditor", "GET", announcements+"?status=dead", "").body["entries"].([]any)[0].(map[string]any)
	if dead["notify"] != "teams:soc" || dead["decision_id"] != got.body["decision_id"] || !strings.Contains(dead["last_error"].(string), "of format slack") {
		t.Errorf("dead: %v", dead)
	}
	again := r.must(202, "acme-operator", "POST", announcements+"/"+dead["id"].(string)+"/replay", "")
	if again.body["status"] != "pending" || again.body["replayed_by"] != "acme-operator" {
		t.Errorf("replayed: %s", again.raw)
	}
	if n := r.must(202, "acme-operator", "POST", channels+"/soc/replay", "").body["replayed"]; n != 0.0 {
		t.Errorf("%v were replayed", n)
	}
}

// A key that is given again changes nothing, those before the newest sign for a
// day, and one that has leaked can be dropped at once.
func TestKeysOverlap(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	shown := func(keys []engine.SigningKey) (text string) {
		for _, k := range keys {
			text += string(k.Key)
			if !k.Until.IsZero() {
				text += k.Until.Sub(now).String()
			}
			text += " "
		}
		return strings.TrimSpace(text)
	}
	keys := keysOf([]byte("a"), nil, false, now)
	for _, step := range []struct {
		key   string
		later time.Duration
		drop  bool
		want  string
	}{
		{"a", 0, false, "a"},
		{"b", 0, false, "b a24h0m0s"},
		{"b", time.Hour, false, "b a24h0m0s"},
		{"c", time.Hour, false, "c b25h0m0s a24h0m0s"},
		{"", 24 * time.Hour, false, "c b25h0m0s"},
		{"b", 24 * time.Hour, false, "b c48h0m0s"},
		{"", 24 * time.Hour, true, "b"},
		{"d", 24 * time.Hour, true, "d"},
	} {
		var key []byte
		if step.key != "" {
			key = []byte(step.key)
		}
		if keys = keysOf(key, keys, step.drop, now.Add(step.later)); shown(keys) != step.want {
			t.Errorf("after %+v: %s", step, shown(keys))
		}
	}
}
