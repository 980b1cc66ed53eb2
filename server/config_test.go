package server

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const config = base + "/config"

func TestConfigOfATenantNeverConfigured(t *testing.T) {
	r := newRig(t)
	got := r.must(200, "acme-auditor", "GET", config, "")
	want := `{"tenant_id":"acme","maturity_tier":0,"tier_label":"L0-Observe","stopped":false,"action_overrides":{},"config_epoch":0,"changed_by":null,"changed_at":null}`
	if got.raw != want || got.header.Get("ETag") != `"0"` {
		t.Errorf("%s, ETag %s", got.raw, got.header.Get("ETag"))
	}
	// A read never writes.
	if got := r.must(200, "acme-auditor", "GET", config+"/history", ""); len(got.body["entries"].([]any)) != 0 {
		t.Error(got.raw)
	}
}

func TestTurningTheDial(t *testing.T) {
	r := newRig(t)
	got := r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":3,"action_overrides":{"block_ip":{"force_auto":true,"require_approval":{"constraints":{"target_cidr":["10.0.0.0/8"]},"expires_at":"2200-01-01T00:00:00.5Z","reason":"ours"}},"isolate_host":{"block":true}},"reason":"pilot"}`)
	if got.body["tier_label"] != "L3-Remediate" || got.body["config_epoch"] != 1.0 || got.body["changed_by"] != "acme-operator" || fmt.Sprint(got.body["still_auto"]) != "[]" {
		t.Error(got.raw)
	}
	overrides := got.body["action_overrides"].(map[string]any)
	ask := overrides["block_ip"].(map[string]any)["require_approval"].(map[string]any)
	if ask["expires_at"] != "2200-01-01T00:00:00.500Z" || ask["reason"] != "ours" || ask["set_by"] != "acme-operator" || fmt.Sprint(ask["constraints"]) != "map[target_cidr:[10.0.0.0/8]]" {
		t.Errorf("%v", ask)
	}
	if force := overrides["block_ip"].(map[string]any)["force_auto"].(map[string]any); force["reason"] != "pilot" || force["expires_at"] != nil {
		t.Errorf("%v", force)
	}
	// The tier alone: the overrides stay.
	got = r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":0}`)
	if fmt.Sprint(got.body["still_auto"]) != "[block_ip]" || len(got.body["action_overrides"].(map[string]any)) != 2 {
		t.Error(got.raw)
	}
	// What GET gave can be put back as it is.
	before := r.must(200, "acme-operator", "GET", config, "")
	again := before.raw[strings.Index(before.raw, `"action_overrides"`):strings.Index(before.raw, `,"config_epoch"`)]
	got = r.must(200, "acme-operator", "PUT", config, `{`+again+`}`)
	if fmt.Sprint(got.body["action_overrides"].(map[string]any)["isolate_host"].(map[string]any)["block"].(map[string]any)["reason"]) != "pilot" {
		t.Error(got.raw)
	}
	// All overrides away.
	got = r.must(200, "acme-operator", "PUT", config, `{"action_overrides":{}}`)
	if len(got.body["action_overrides"].(map[string]any)) != 0 || got.body["config_epoch"] != 4.0 || got.body["maturity_tier"] != 0.0 {
		t.Error(got.raw)
	}
}

func TestIfMatch(t *testing.T) {
	r := newRig(t)
	etag := r.must(200, "acme-operator", "GET", config, "").header.Get("ETag")
	etag = r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":1}`, "If-Match", etag).header.Get("ETag")
	if etag != `"1"` {
		t.Errorf("ETag %s", etag)
	}
	if got := r.must(412, "acme-operator", "PUT", config, `{"maturity_tier":2}`, "If-Match", `"0"`); got.body["type"] != typeBase+"stale_configuration" {
		t.Error(got.raw)
	}
	r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":2}`, "If-Match", "*")
	for _, bad := range []string{"2", `W/"2"`, `"2", "3"`, `"-1"`, `"02"`, `"99999999999999999999"`, `""`} {
		if got := r.must(400, "acme-operator", "PUT", config, `{"maturity_tier":2}`, "If-Match", bad); fmt.Sprint(got.fields()) != "[If-Match]" {
			t.Error(got.raw)
		}
	}
	if got := r.must(200, "acme-operator", "GET", config, ""); got.body["config_epoch"] != 2.0 {
		t.Errorf("a refused change was made: %s", got.raw)
	}
}

func TestStopAndRelease(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":1}`)
	if got := r.must(200, "acme-operator", "POST", base+"/stop", `{"reason":"incident"}`); got.body["stopped"] != true {
		t.Error(got.raw)
	}
	if got := r.must(200, "acme-agent", "POST", decisions, simple); got.body["rule"] != "stopped" {
		t.Error(got.raw)
	}
	if got := r.must(200, "acme-operator", "POST", base+"/release", `{"reason":"over"}`); got.body["stopped"] != false {
		t.Error(got.raw)
	}
	if got := r.must(200, "acme-agent", "POST", decisions, simple); got.body["rule"] != "tier_allows" {
		t.Error(got.raw)
	}
}

func TestOverridesAndWhitelist(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", base+"/overrides/block_ip", `{"mode":"force_auto","constraints":{"min_confidence":0.950},"expires_at":null,"reason":"lab"}`)
	got := r.must(200, "acme-operator", "PUT", base+"/overrides/block_ip", `{"mode":"block","reason":"no"}`)
	if modes := got.body["action_overrides"].(map[string]any)["block_ip"].(map[string]any); len(modes) != 2 {
		t.Error(got.raw)
	}
	r.must(204, "acme-operator", "DELETE", base+"/overrides/block_ip?mode=block&reason=x", "")
	r.must(404, "acme-operator", "DELETE", base+"/overrides/block_ip?mode=block&reason=x", "")
	r.must(204, "acme-operator", "DELETE", base+"/overrides/block_ip?reason=x", "")
	r.must(404, "acme-operator", "DELETE", base+"/overrides/block_ip?reason=x", "")

	var ids []string
	for i := range 5 {
		got := r.must(201, "acme-operator", "POST", base+"/whitelist", fmt.Sprintf(`{"action_type":"isolate_host","constraints":{"target":"host:%d"},"expires_at":"2200-01-01T00:00:00Z","reason":"lab","notify":["slack:#soc","mailto:soc@example.org"]}`, i))
		ids = append(ids, got.body["id"].(string))
	}
	slices.Sort(ids)
	var read []string
	for path := base + "/whitelist?action_type=isolate_host&limit=2"; ; {
		got := r.must(200, "acme-auditor", "GET", path, "")
		for _, e := range got.body["entries"].([]any) {
			read = append(read, e.(map[string]any)["id"].(string))
		}
		cursor, more := got.body["next_cursor"].(string)
		if !more {
			break
		}
		path = base + "/whitelist?action_type=isolate_host&limit=2&cursor=" + cursor
	}
	if !slices.Equal(read, ids) {
		t.Errorf("pages gave %v, want %v", read, ids)
	}
	if got := r.must(200, "acme-auditor", "GET", base+"/whitelist?action_type=block_ip", ""); len(got.body["entries"].([]any)) != 0 {
		t.Error(got.raw)
	}
	r.must(204, "acme-operator", "DELETE", base+"/whitelist/"+strings.ToUpper(ids[0])+"?reason=x", "")
	r.must(404, "acme-operator", "DELETE", base+"/whitelist/"+ids[0]+"?reason=x", "")
}

func TestHistoryHasEveryChange(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":1,"reason":"one"}`)
	r.must(200, "acme-operator", "PUT", base+"/overrides/block_ip", `{"mode":"block","reason":"two"}`)
	r.must(204, "acme-operator", "DELETE", base+"/overrides/block_ip?reason=three", "")
	r.must(200, "acme-operator", "POST", base+"/stop", `{"reason":"four"}`)
	var got []string
	for path := config + "/history?limit=3"; ; {
		page := r.must(200, "acme-auditor", "GET", path, "")
		for _, c := range page.body["entries"].([]any) {
			c := c.(map[string]any)
			got = append(got, fmt.Sprint(c["epoch"], " ", c["kind"], " ", c["actor"], " ", c["reason"]))
			for _, key := range []string{"before", "after", "at"} {
				if _, has := c[key]; !has {
					t.Errorf("%s is missing: %v", key, c)
				}
			}
		}
		cursor, more := page.body["next_cursor"].(string)
		if !more {
			break
		}
		path = config + "/history?limit=3&cursor=" + cursor
	}
	want := []string{"1 config acme-operator one", "2 override_set acme-operator two", "3 override_remove acme-operator three", "4 stop acme-operator four"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestBadConfiguration(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("a", 1001)
	list65 := `["` + strings.Repeat(`a","`, 64) + `a"]`
	override := func(more string) string { return `{"mode":"block","reason":"x",` + more + `}` }
	force := func(constraints string) string {
		return `{"mode":"force_auto","reason":"x","constraints":` + constraints + `}`
	}
	entry := func(more string) string {
		return `{"action_type":"isolate_host","constraints":{"target":"a"},"expires_at":"2200-01-01T00:00:00Z","reason":"x"` + more + `}`
	}
	until := func(s string) string {
		return `{"action_type":"isolate_host","constraints":{"target":"a"},"expires_at":` + s + `,"reason":"x"}`
	}
	on := func(constraints string) string {
		return `{"action_type":"isolate_host","constraints":` + constraints + `,"expires_at":"2200-01-01T00:00:00Z","reason":"x"}`
	}
	for _, c := range []struct{ path, body, field string }{
		{"PUT /config", `{}`, "maturity_tier"},
		{"PUT /config", `{"reason":"x"}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":5}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":-1}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":1.5}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":1.0}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":"1"}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":true}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":null}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":99999999999999999999}`, "maturity_tier"},
		{"PUT /config", `{"maturity_tier":1,"maturity_tier":2}`, "maturity_tier"},
		{"PUT /config", `{"Maturity_tier":1}`, "Maturity_tier"},
		{"PUT /config", `{"maturity_tier":1,"stopped":true}`, "stopped"},
		{"PUT /config", `{"maturity_tier":1,"reason":""}`, "reason"},
		{"PUT /config", `{"maturity_tier":1,"reason":"` + long + `"}`, "reason"},
		{"PUT /config", `{"maturity_tier":1,"reason":"a\nb"}`, "reason"},
		{"PUT /config", `{"maturity_tier":1,"action_overrides":null}`, "action_overrides"},
		{"PUT /config", `{"maturity_tier":1,"action_overrides":[]}`, "action_overrides"},
		{"PUT /config", `{"action_overrides":{"block_ip":true},"reason":"x"}`, "action_overrides.block_ip"},
		{"PUT /config", `{"action_overrides":{"Block":{"block":true}},"reason":"x"}`, "action_overrides"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"allow":true}},"reason":"x"}`, "action_overrides.block_ip"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":true}}}`, "reason"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":false}},"reason":"x"}`, "action_overrides.block_ip.block"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":"true"}},"reason":"x"}`, "action_overrides.block_ip.block"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":1}},"reason":"x"}`, "action_overrides.block_ip.block"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":null}},"reason":"x"}`, "action_overrides.block_ip.block"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":{}}}}`, "action_overrides.block_ip.block.reason"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":{"colour":1}}},"reason":"x"}`, "action_overrides.block_ip.block.colour"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":{"constraints":{"min_confidence":1}}}},"reason":"x"}`, "action_overrides.block_ip.block.constraints.min_confidence"},
		{"PUT /config", `{"action_overrides":{"block_ip":{"block":{"expires_at":"2001-01-01T00:00:00Z"}}},"reason":"x"}`, "action_overrides.block_ip.block.expires_at"},

		{"PUT /overrides/block_ip", `{}`, "mode"},
		{"PUT /overrides/block_ip", `{"mode":"block"}`, "reason"},
		{"PUT /overrides/block_ip", `{"mode":"Block","reason":"x"}`, "mode"},
		{"PUT /overrides/block_ip", `{"mode":true,"reason":"x"}`, "mode"},
		{"PUT /overrides/block_ip", `{"mode":"block","reason":1}`, "reason"},
		{"PUT /overrides/block_ip", override(`"action_type":"block_ip"`), "action_type"},
		{"PUT /overrides/block_ip", override(`"constraints":null`), "constraints"},
		{"PUT /overrides/block_ip", override(`"constraints":[]`), "constraints"},
		{"PUT /overrides/block_ip", override(`"constraints":{"colour":"red"}`), "constraints.colour"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target":[]}`), "constraints.target"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target":null}`), "constraints.target"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target":["a",1]}`), "constraints.target"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target":{"a":1}}`), "constraints.target"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target":` + list65 + `}`), "constraints.target"},
		{"PUT /overrides/block_ip", override(`"constraints":{"Target":"a"}`), "constraints.Target"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target_prefix":"10.0.0.1"}`), "constraints.target_prefix"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target_prefix":""}`), "constraints.target_prefix"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target_cidr":"10.0.0.1/8"}`), "constraints.target_cidr"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target_cidr":"010.0.0.0/8"}`), "constraints.target_cidr"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target_cidr":"ip:10.0.0.1"}`), "constraints.target_cidr"},
		{"PUT /overrides/block_ip", override(`"constraints":{"target_cidr":"fe80::1%eth0"}`), "constraints.target_cidr"},
		{"PUT /overrides/block_ip", override(`"constraints":{"not_target_cidr":"10.0.0.0/8"}`), "constraints.not_target_cidr"},
		{"PUT /overrides/block_ip", override(`"constraints":{"min_confidence":0.5}`), "constraints.min_confidence"},
		{"PUT /overrides/block_ip", force(`{"min_confidence":"0.5"}`), "constraints.min_confidence"},
		{"PUT /overrides/block_ip", force(`{"min_confidence":1.5}`), "constraints.min_confidence"},
		{"PUT /overrides/block_ip", force(`{"min_confidence":null}`), "constraints.min_confidence"},
		{"PUT /overrides/block_ip", force(`{"min_confidence":true}`), "constraints.min_confidence"},
		{"PUT /overrides/block_ip", force(`{"target":"a\u0000"}`), "constraints.target"},
		{"PUT /overrides/block_ip", force(`{"target":"a","target":"b"}`), "constraints.target"},
		{"PUT /overrides/block_ip", override(`"expires_at":"2001-01-01T00:00:00Z"`), "expires_at"},
		{"PUT /overrides/block_ip", override(`"expires_at":"2262-01-01T00:00:00Z"`), "expires_at"},
		{"PUT /overrides/block_ip", override(`"expires_at":1`), "expires_at"},

		{"POST /whitelist", entry(`,"id":"x"`), "id"},
		{"POST /whitelist", entry(`,"notify":"slack:#soc"`), "notify"},
		{"POST /whitelist", entry(`,"notify":["soc"]`), "notify[0]"},
		{"POST /whitelist", entry(`,"notify":["slack:"]`), "notify[0]"},
		{"POST /whitelist", entry(`,"notify":[null]`), "notify[0]"},
		{"POST /whitelist", entry(`,"notify":["a:b","a:b","a:b","a:b","a:b","a:b","a:b","a:b","a:b"]`), "notify"},
		{"POST /whitelist", `{"constraints":{"target":"a"},"expires_at":"2200-01-01T00:00:00Z","reason":"x"}`, "action_type"},
		{"POST /whitelist", `{"action_type":"isolate_host","expires_at":"2200-01-01T00:00:00Z","reason":"x"}`, "constraints"},
		{"POST /whitelist", `{"action_type":"isolate_host","constraints":{"target":"a"},"reason":"x"}`, "expires_at"},
		{"POST /whitelist", `{"action_type":"isolate_host","constraints":{"target":"a"},"expires_at":"2200-01-01T00:00:00Z"}`, "reason"},
		{"POST /whitelist", on(`{}`), "constraints"},
		{"POST /whitelist", on(`{"min_confidence":0.5}`), "constraints"},
		{"POST /whitelist", on(`{"not_target_cidr":"10.0.0.0/8"}`), "constraints"},
		{"POST /whitelist", on(`{"target":"a","target_prefix":"b"}`), "constraints.target_prefix"},
		{"POST /whitelist", until(`null`), "expires_at"},
		{"POST /whitelist", until(`""`), "expires_at"},
		{"POST /whitelist", until(`"never"`), "expires_at"},
		{"POST /whitelist", until(`"2200-01-01"`), "expires_at"},
		{"POST /whitelist", until(`"2200-01-01T00:00:00"`), "expires_at"},
		{"POST /whitelist", until(`"2200-01-01T00:00:00+00:00"`), "expires_at"},
		{"POST /whitelist", until(`"2200-01-01t00:00:00z"`), "expires_at"},
		{"POST /whitelist", until(`"2200-01-01T00:00:00.0000Z"`), "expires_at"},
		{"POST /whitelist", until(`"2200-01-01T00:00:00.Z"`), "expires_at"},
		{"POST /whitelist", until(`"2200-02-30T00:00:00Z"`), "expires_at"},
		{"POST /whitelist", until(`"9999-12-31T23:59:59Z"`), "expires_at"},
		{"POST /whitelist", until(`"2001-01-01T00:00:00Z"`), "expires_at"},

		{"POST /stop", `{}`, "reason"},
		{"POST /stop", `{"reason":""}`, "reason"},
		{"POST /stop", `{"reason":"x","stopped":true}`, "stopped"},
		{"POST /release", `{"reason":null}`, "reason"},
		{"DELETE /overrides/block_ip", ``, "reason"},
		{"DELETE /overrides/block_ip?mode=allow&reason=x", ``, "mode"},
		{"DELETE /overrides/block_ip?mode=&reason=x", ``, "mode"},
		{"DELETE /overrides/block_ip?reason=" + long, ``, "reason"},
		{"DELETE /overrides/block_ip?reason=a%00b", ``, "reason"},
		{"DELETE /whitelist/" + someID, ``, "reason"},
	} {
		method, path, _ := strings.Cut(c.path, " ")
		got := r.do("acme-operator", method, base+path, c.body)
		if got.status != 400 || !slices.Contains(got.fields(), c.field) {
			t.Errorf("%.80s %.200s: %d, want 400 and field %s: %.300s", c.path, c.body, got.status, c.field, got.raw)
		}
	}
	if got := r.must(200, "acme-operator", "GET", config, ""); got.body["config_epoch"] != 0.0 {
		t.Errorf("a refused change was made: %s", got.raw)
	}
}

// Path parameters aimed at compound keys end in 404 or 400 and nothing else.
func TestOddPaths(t *testing.T) {
	r := newRig(t)
	for _, odd := range []string{"%00", "block_ip%00", "block_ip%2Fx", "..%2f..", "a%1fb", "%ff", "%F0%9F", "block_ip:", "Block_Ip", "'; --", strings.Repeat("a", 5000), "%C0%80", ".", "..", "*", "{}"} {
		odd := strings.ReplaceAll(odd, " ", "%20")
		if _, err := url.PathUnescape(odd); err != nil {
			t.Fatal(err)
		}
		for _, c := range []string{"GET /decisions/ODD", "PUT /overrides/ODD", "DELETE /overrides/ODD?reason=x", "DELETE /whitelist/ODD?reason=x"} {
			method, path, _ := strings.Cut(c, " ")
			body := ""
			if method == "PUT" {
				body = `{"mode":"block","reason":"x"}`
			}
			got := r.do("acme-all", method, base+strings.ReplaceAll(path, "ODD", odd), body)
			if got.status != 404 && got.status != 400 {
				t.Errorf("%s with %.40s: %d", c, odd, got.status)
			}
		}
	}
}
