package server

import (
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// contract is who may take each route, as CONTRACT's table of roles says it;
// written down again here so that a slip in routes is seen.
var contract = map[string]string{
	"POST /decisions":                "agent operator",
	"POST /decisions/batch":          "agent operator",
	"POST /decisions/preview":        "agent operator",
	"GET /decisions/:decision_id":    "agent operator auditor approver",
	"GET /actions":                   "agent operator auditor approver",
	"GET /matrix":                    "agent operator auditor approver",
	"GET /config":                    "operator auditor",
	"PUT /config":                    "operator",
	"GET /config/history":            "operator auditor",
	"PUT /overrides/:action_type":    "operator",
	"DELETE /overrides/:action_type": "operator",
	"GET /whitelist":                 "operator auditor",
	"POST /whitelist":                "operator",
	"DELETE /whitelist/:id":          "operator",
	"POST /stop":                     "operator",
	"POST /release":                  "operator",
	"GET /gate-log":                  "auditor",

	"POST /decisions/:decision_id/outcome": "agent operator",
	"GET /approvals":                       "approver operator auditor",
	"GET /approvals/:approval_id":          "approver operator auditor",
	"POST /approvals/:approval_id/approve": "approver operator", // of which the policy counts approvers
	"POST /approvals/:approval_id/deny":    "approver operator",
	"POST /approvals/:approval_id/cancel":  "agent operator",

	"GET /channels":                               "operator auditor",
	"GET /channels/:channel":                      "operator auditor",
	"PUT /channels/:channel":                      "operator",
	"DELETE /channels/:channel":                   "operator",
	"POST /channels/:channel/test":                "operator",
	"POST /channels/:channel/replay":              "operator",
	"GET /announcements":                          "operator auditor",
	"GET /announcements/:announcement_id":         "operator auditor",
	"DELETE /announcements/:announcement_id":      "operator",
	"POST /announcements/:announcement_id/replay": "operator",

	"POST /bundles":                       "policy_admin",
	"GET /bundles":                        "operator auditor policy_admin",
	"GET /bundles/history":                "operator auditor policy_admin",
	"GET /bundles/:bundle_hash":           "operator auditor policy_admin",
	"POST /bundles/:bundle_hash/activate": "policy_admin",
	"POST /bundles/:bundle_hash/rollback": "policy_admin",
	"POST /bundles/:bundle_hash/shadow":   "policy_admin",
	"DELETE /bundles/:bundle_hash/shadow": "policy_admin",
	"GET /bundles/:bundle_hash/shadow":    "policy_admin", // and auditors of all tenants
	"GET /gate-log/summary":               "auditor",
	"GET /export":                         "auditor",

	"GET /log/checkpoint":  "auditor",
	"GET /log/proof":       "auditor",
	"GET /log/consistency": "auditor",
}

const someID = "0197f1c2-0000-7000-8000-000000000000"

// concrete fills a route's parameters.
func concrete(path string) string {
	return strings.NewReplacer(":decision_id", someID, ":approval_id", someID, ":bundle_hash", "sha256:"+strings.Repeat("0", 64), ":announcement_id", someID, ":channel", "soc", ":id", someID, ":action_type", "block_ip").Replace(path)
}

func TestRolesOfEveryRoute(t *testing.T) {
	r := newRig(t)
	seen := 0
	for _, route := range routes {
		path := strings.TrimPrefix(route.path, base)
		want, listed := contract[route.method+" "+path]
		if !listed {
			if route.roles != nil || strings.HasPrefix(route.path, base) {
				t.Errorf("%s %s is not in CONTRACT's table", route.method, route.path)
			}
			if got := r.do("", route.method, route.path, ""); got.status != 200 {
				t.Errorf("%s without a token: %d", route.path, got.status)
			}
			continue
		}
		seen++
		for token, status := range map[string]int{"": 401, "no-such": 401, "acme-agent": 403, "acme-operator": 403, "acme-auditor": 403, "acme-approver": 403} {
			if _, role, ok := strings.Cut(token, "-"); ok && slices.Contains(strings.Fields(want), role) {
				status = 0
			}
			got := r.do(token, route.method, concrete(route.path), "")
			if status == 0 && (got.status == 401 || got.status == 403 || got.status >= 500) || status != 0 && got.status != status {
				t.Errorf("%s %s with %q: %d, want %d", route.method, path, token, got.status, status)
			}
		}
	}
	if seen != len(contract) {
		t.Errorf("%d of the %d routes of CONTRACT exist", seen, len(contract))
	}
}

// What one tenant made, another one can neither see nor touch.
func TestTenantsAreApart(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-all", "PUT", base+"/config", `{"maturity_tier":4}`)
	r.must(200, "acme-all", "PUT", base+"/overrides/block_ip", `{"mode":"force_auto","reason":"lab"}`)
	entry := r.must(201, "acme-all", "POST", base+"/whitelist", `{"action_type":"isolate_host","constraints":{"target":"host:a"},"expires_at":"2200-01-01T00:00:00Z","reason":"lab"}`).body["id"].(string)
	row := r.must(200, "acme-all", "POST", decisions, `{"action_type":"isolate_host","target":"host:a"}`)
	if row.body["rule"] != "whitelist_match" {
		t.Fatal(row.raw)
	}
	id := row.body["decision_id"].(string)

	for _, globex := range [][]string{{"globex-all"}, {"any-all", "X-Tenant-ID", "globex"}} {
		token, header := globex[0], globex[1:]
		r.must(404, token, "GET", decisions+"/"+id, "", header...)
		r.must(404, token, "DELETE", base+"/whitelist/"+entry+"?reason=x", "", header...)
		r.must(404, token, "DELETE", base+"/overrides/block_ip?reason=x", "", header...)
		for path, key := range map[string]string{"/gate-log": "entries", "/whitelist": "entries", "/config/history": "entries", "/gate-log/summary": "counts"} {
			if got := r.must(200, token, "GET", base+path, "", header...); len(got.body[key].([]any)) != 0 {
				t.Errorf("%s shows another tenant's: %s", path, got.raw)
			}
		}
		if got := r.must(200, token, "GET", base+"/config", "", header...); got.body["tenant_id"] != "globex" || got.body["config_epoch"] != 0.0 {
			t.Error(got.raw)
		}
		if got := r.must(200, token, "POST", decisions+"/preview", `{"action_type":"isolate_host","target":"host:a"}`, header...); got.body["maturity_tier"] != 0.0 {
			t.Error(got.raw)
		}
		for _, m := range r.must(200, token, "GET", base+"/matrix", "", header...).body["matrix"].([]any) {
			if m.(map[string]any)["decision"] != "queued_approval" {
				t.Errorf("another tenant's dial shows: %v", m)
			}
		}
	}
	// And all of it still stands where it was made.
	r.must(200, "acme-all", "GET", decisions+"/"+id, "")
	r.must(204, "acme-all", "DELETE", base+"/whitelist/"+entry+"?reason=x", "")
	r.must(204, "acme-all", "DELETE", base+"/overrides/block_ip?reason=x", "")
}

// A credential of one tenant that names another learns nothing, on any route.
func TestNamingAnotherTenant(t *testing.T) {
	r := newRig(t)
	for _, route := range routes {
		if route.roles == nil {
			continue
		}
		for tenant, status := range map[string]int{"globex": 404, "default": 404, "": 404, "*": 404} {
			if got := r.do("acme-all", route.method, concrete(route.path), "", "X-Tenant-ID", tenant); got.status != status {
				t.Errorf("%s %s as %q: %d, want %d", route.method, route.path, tenant, got.status, status)
			}
		}
		for _, tenant := range []string{"", "*", "UPPER", ".a", "a/b", "a\x00b", "a\tb", "a b", "é", strings.Repeat("a", 64)} {
			if got := r.do("any-all", route.method, concrete(route.path), "", "X-Tenant-ID", tenant); got.status != 400 {
				t.Errorf("%s %s as %q: %d, want 400", route.method, route.path, tenant, got.status)
			}
		}
		if got := r.do("any-all", route.method, concrete(route.path), "", "X-Tenant-ID", "acme", "X-Tenant-ID", "acme"); got.status != 400 {
			t.Errorf("%s %s with two X-Tenant-ID: %d", route.method, route.path, got.status)
		}
	}
	for header, tenant := range map[string]string{"acme": "acme", strings.Repeat("a", 63): strings.Repeat("a", 63), "a.b_c-9": "a.b_c-9"} {
		if got := r.must(200, "any-all", "GET", base+"/config", "", "X-Tenant-ID", header); got.body["tenant_id"] != tenant {
			t.Error(got.raw)
		}
	}
	if got := r.must(200, "any-all", "GET", base+"/config", ""); got.body["tenant_id"] != "default" {
		t.Error(got.raw)
	}
	r.must(200, "acme-all", "GET", base+"/config", "", "X-Tenant-ID", "acme")
}

func TestAuthorizationHeader(t *testing.T) {
	r := newRig(t)
	for header, status := range map[string]int{
		"Bearer acme-all": 200, "bearer acme-all": 200,
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer  acme-all": 401, "Basic acme-all": 401, "acme-all": 401,
		"Bearer acme-all ": 401, "Bearer ACME-ALL": 401, "Bearer acme-al": 401,
		fmt.Sprintf("Bearer %x", sha256.Sum256([]byte("acme-all"))): 401, // the hash is no token
	} {
		got := r.do("", "GET", base+"/config", "", "Authorization", header)
		if got.status != status {
			t.Errorf("Authorization %q: %d, want %d", header, got.status, status)
		}
		if status == 401 && got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("Authorization %q: no challenge", header)
		}
	}
	r.must(401, "acme-all", "GET", base+"/config", "", "Authorization", "Bearer acme-all")
}

func TestTokenFiles(t *testing.T) {
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("a")))
	other := fmt.Sprintf("%x", sha256.Sum256([]byte("b")))
	for content, want := range map[string]string{
		"# a comment\n\n" + sum + " anna acme agent # hers\n" + other + "\tbob\t*\tagent,operator,auditor,policy_admin": "",
		sum + " anna acme auditor,policy_admin": "the tenant must be *",
		"":                                      "no token",
		"# nothing":                             "no token",
		sum + " anna acme":                      "line 1",
		"\n" + sum + " anna acme a b":           "line 2",
		"abc anna acme agent":                   "line 1",
		sum + "00 anna acme agent":              "line 1",
		"token anna acme agent":                 "line 1",
		sum + " anna ACME agent":                "line 1",
		sum + " anna ** agent":                  "line 1",
		sum + " anna acme admin":                "line 1",
		sum + " anna acme agent,":               "line 1",
		sum + " anna acme agent, auditor":       "line 1",
		sum + " an\x00na acme agent":            "line 1",
		sum + " anna acme approver anna.b":      "",
		sum + " anna acme approver anna b":      "line 1",
		sum + " anna acme approver é":           "the person must match",
		sum + " anna acme approver anna.b\n" + other + " anna acme auditor anna.c": "one name is one person's",
		sum + " anna acme agent\n" + strings.ToUpper(sum) + " bob acme agent":      "line 2",
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadTokens(path)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", content, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want one with %q", content, err, want)
		case err != nil && strings.Contains(err.Error(), "token anna"):
			t.Errorf("the error shows what may be a token: %v", err)
		}
	}
	if _, err := LoadTokens(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was taken")
	}
}

func TestReloadKeepsTheOldTokensWhenTheNewAreBad(t *testing.T) {
	r := newRig(t)
	path := r.options.Tokens.path
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(s string) error {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		return r.options.Tokens.Reload()
	}
	if err := write(string(old) + "rubbish\n"); err == nil {
		t.Fatal("a bad file was taken")
	}
	r.must(200, "acme-all", "GET", base+"/config", "")
	if err := write(fmt.Sprintf("%x new acme auditor", sha256.Sum256([]byte("new")))); err != nil {
		t.Fatal(err)
	}
	r.must(401, "acme-all", "GET", base+"/config", "")
	r.must(200, "new", "GET", base+"/config", "")
}

// With --dev a page that rebinds its own name to 127.0.0.1 is turned away.
func TestDevAnswersToLoopbackNamesOnly(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Dev, o.Tokens = true, DevTokens() })
	for host, ok := range map[string]bool{
		"localhost": true, "localhost:8080": true, "LOCALHOST:1": true, "127.0.0.1:8080": true, "127.0.0.2": true, "[::1]:8080": true, "[::1]": true,
		"": false, "evil.example": false, "evil.example:8080": false, "127.0.0.1.nip.io": false, "localhost.evil.example": false,
		"192.168.1.7:8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "localhost@evil.example": false, "evil.example#localhost": false,
	} {
		for _, path := range []string{base + "/config", "/healthz", "/no-such"} {
			req := httptest.NewRequest("GET", path, nil)
			req.Host = host
			req.Header.Set("Authorization", "Bearer dev")
			if got := r.send(req); (got.status != 421) != ok {
				t.Errorf("Host %q at %s: %d", host, path, got.status)
			}
		}
	}
}

func TestDevToken(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Tokens = DevTokens() })
	r.must(200, "dev", "GET", base+"/gate-log", "", "X-Tenant-ID", "acme")
	r.must(200, "dev", "PUT", base+"/config", `{"maturity_tier":1}`)
	r.must(200, "dev", "POST", decisions, simple)
	r.must(401, "acme-all", "GET", base+"/config", "")
	if err := r.options.Tokens.Reload(); err != nil {
		t.Error(err)
	}
}
