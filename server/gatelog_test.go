package server

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const gateLogPath = base + "/gate-log"

func seqs(page reply) (list []float64) {
	for _, e := range page.body["entries"].([]any) {
		list = append(list, e.(map[string]any)["log_seq"].(float64))
	}
	return list
}

func TestGateLogPagesAndFilters(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":2}`)
	for _, body := range []string{
		`{"action_type":"search_siem","target":"index:main"}`,
		`{"action_type":"isolate_host","target":"host:a","incident_id":"INC-7"}`,
		`{"action_type":"isolate_host","target":"host:b","actor":"user:anna"}`,
		`{"action_type":"wipe_disk","target":"host:a"}`,
		`{"action_type":"quarantine_file","target":"file:x"}`,
	} {
		r.must(200, "acme-agent", "POST", decisions, body)
	}
	for filter, want := range map[string][]float64{
		"":                               {5, 4, 3, 2, 1},
		"decision=auto":                  {5, 1},
		"decision=queued_approval":       {4, 3, 2},
		"decision=blocked":               nil,
		"action_type=isolate_host":       {3, 2},
		"blast_radius=CRITICAL":          {4},
		"actor=user:anna":                {3},
		"target_prefix=host:":            {4, 3, 2},
		"target_prefix=HOST:":            nil,
		"target_prefix=%25":              nil,
		"target_prefix=host_":            nil,
		"incident_id=INC-7":              {2},
		"rule=tier_allows":               {5, 1},
		"decision=auto&blast_radius=LOW": {5},
		"from=2001-01-01T00:00:00Z":      {5, 4, 3, 2, 1},
		"to=2001-01-01T00:00:00.123Z":    nil,
		"limit=2":                        {5, 4},
		"limit=500&input=false":          {5, 4, 3, 2, 1},
	} {
		if got := seqs(r.must(200, "acme-auditor", "GET", gateLogPath+"?"+filter, "")); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	var all []float64
	path := gateLogPath + "?limit=2&target_prefix=host:"
	for next := path; next != ""; {
		page := r.must(200, "acme-auditor", "GET", next, "")
		all = append(all, seqs(page)...)
		next = ""
		if cursor, ok := page.body["next_cursor"].(string); ok {
			next = path + "&cursor=" + cursor
		}
	}
	if !slices.Equal(all, []float64{4, 3, 2}) {
		t.Errorf("pages gave %v", all)
	}
	entry := r.must(200, "acme-auditor", "GET", gateLogPath+"?limit=1", "").body["entries"].([]any)[0].(map[string]any)
	if _, has := entry["input"]; has {
		t.Error("input came unasked")
	}
	entry = r.must(200, "acme-auditor", "GET", gateLogPath+"?limit=1&input=true", "").body["entries"].([]any)[0].(map[string]any)
	if input, ok := entry["input"].(map[string]any); !ok || input["now"] != entry["decided_at"] {
		t.Errorf("input %v", entry["input"])
	}
	summary := r.must(200, "acme-auditor", "GET", gateLogPath+"/summary", "")
	if summary.body["total"] != 5.0 || len(summary.body["counts"].([]any)) != 4 {
		t.Error(summary.raw)
	}
}

func TestBadQueries(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.must(200, "acme-agent", "POST", decisions, simple)
		r.must(200, "acme-operator", "PUT", config, `{"maturity_tier":1}`)
	}
	cursor := r.must(200, "acme-auditor", "GET", gateLogPath+"?limit=1", "").body["next_cursor"].(string)
	r.must(200, "acme-auditor", "GET", gateLogPath+"?limit=2&cursor="+cursor, "")
	flipped := cursor[:len(cursor)-2] + "AA"
	for _, c := range []struct{ path, field string }{
		{"/gate-log?limit=0", "limit"},
		{"/gate-log?limit=501", "limit"},
		{"/gate-log?limit=-1", "limit"},
		{"/gate-log?limit=1.0", "limit"},
		{"/gate-log?limit=+1", "limit"},
		{"/gate-log?limit=01", "limit"},
		{"/gate-log?limit=99999999999999999999", "limit"},
		{"/gate-log?limit=", "limit"},
		{"/gate-log?limit=1&limit=1", "limit"},
		{"/gate-log?Limit=1", "Limit"},
		{"/gate-log?colour=red", "colour"},
		{"/gate-log?tenant_id=globex", "tenant_id"},
		{"/gate-log?decision=AUTO", "decision"},
		{"/gate-log?decision=auto&decision=auto", "decision"},
		{"/gate-log?blast_radius=high", "blast_radius"},
		{"/gate-log?action_type=Search", "action_type"},
		{"/gate-log?action_type=a%00b", "action_type"},
		{"/gate-log?target_prefix=%00", "target_prefix"},
		{"/gate-log?target_prefix=%ff", "target_prefix"},
		{"/gate-log?rule=allow", "rule"},
		{"/gate-log?actor=" + strings.Repeat("a", 2000), "actor"},
		{"/gate-log?input=1", "input"},
		{"/gate-log?from=yesterday", "from"},
		{"/gate-log?from=0000-01-01T00:00:00Z", "from"},
		{"/gate-log/summary?to=0000-01-01T00:00:00Z", "to"},
		{"/config/history?to=1969-12-31T23:59:59Z", "to"},
		{"/gate-log?from=2026-01-01", "from"},
		{"/gate-log?from=2026-01-01T00:00:00%2B00:00", "from"},
		{"/gate-log?to=2026-01-01T00:00:00.0000Z", "to"},
		{"/gate-log?to=2026-13-01T00:00:00Z", "to"},
		{"/gate-log?cursor=x", "cursor"},
		{"/gate-log?cursor=", "cursor"},
		{"/gate-log?cursor=4", "cursor"},
		{"/gate-log?cursor=" + flipped, "cursor"},
		{"/gate-log?cursor=" + cursor + "A", "cursor"},
		{"/gate-log?cursor=" + cursor + "%3D", "cursor"},
		{"/gate-log?cursor=" + cursor + "&rule=tier_allows", "cursor"}, // made for another query
		{"/config/history?cursor=" + cursor, "cursor"},
		{"/whitelist?cursor=" + cursor, "cursor"},
		{"/gate-log/summary?limit=1", "limit"},
		{"/gate-log/summary?from=1", "from"},
		{"/config/history?limit=501", "limit"},
		{"/whitelist?limit=501", "limit"},
		{"/whitelist?action_type=A", "action_type"},
		{"/config?x=1", "x"},
		{"/actions?x=1", "x"},
		{"/matrix?x=1", "x"},
		{"/gate-log?a;b", ""},
		{"/gate-log?%zz=1", ""},
		{"/gate-log?a%00=1", "query"},
	} {
		got := r.do("acme-all", "GET", base+c.path, "")
		if got.status != 400 || !slices.Contains(got.fields(), c.field) {
			t.Errorf("%.100s: %d, want 400 and field %q: %.300s", c.path, got.status, c.field, got.raw)
		}
	}
	if got := r.do("globex-all", "GET", gateLogPath+"?cursor="+cursor, ""); got.status != 400 {
		t.Errorf("another tenant's cursor: %d", got.status)
	}
	for _, path := range []string{"/decisions?x=1", "/decisions/batch?x=1", "/decisions/preview?x=1", "/stop?reason=x"} {
		if got := r.do("acme-all", "POST", base+path, simple); got.status != 400 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

// A filter's value is data: it is found as it is or not at all.
func TestFilterValuesAreNotInterpreted(t *testing.T) {
	r := newRig(t)
	target := `it's 100% "odd" \ _ é ` + "\u200b"
	r.must(200, "acme-agent", "POST", decisions, `{"action_type":"search_siem","target":`+quoted(target)+`}`)
	for prefix, n := range map[string]int{target: 1, `it's 100%`: 1, `it's 100_`: 0, `it''s`: 0, `%`: 0, `' OR 1=1 --`: 0, target + "x": 0} {
		if got := seqs(r.must(200, "acme-auditor", "GET", gateLogPath+"?target_prefix="+url.QueryEscape(prefix), "")); len(got) != n {
			t.Errorf("%q found %d rows, want %d", prefix, len(got), n)
		}
	}
}

func quoted(s string) string {
	return fmt.Sprintf(`"%s"`, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s))
}

func TestTimesHaveThreeDecimals(t *testing.T) {
	r := newRig(t)
	got := r.must(200, "acme-agent", "POST", decisions, simple).body["decided_at"].(string)
	if at, err := time.Parse("2006-01-02T15:04:05.000Z", got); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("decided_at %q", got)
	}
}
