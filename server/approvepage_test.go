package server

import (
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page's policy lets its own script and style run, and names nothing else
// but the gate itself to talk to.
func TestApprovalPageHeaders(t *testing.T) {
	got := newRig(t).must(200, "", "GET", "/approve", "")
	for name, want := range map[string]string{
		"Content-Type":                 "text/html; charset=utf-8",
		"Cache-Control":                "no-store",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Set-Cookie":                   "",
	} {
		if have := strings.Join(got.header.Values(name), ", "); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	if !strings.Contains(got.header.Get("Permissions-Policy"), "camera=()") {
		t.Errorf("Permissions-Policy: %q", got.header.Get("Permissions-Policy"))
	}
	if n := len(got.header.Values("Content-Security-Policy")); n != 1 {
		t.Fatalf("%d policies", n)
	}
	inside := func(pattern string) string {
		all := regexp.MustCompile(pattern).FindAllStringSubmatch(got.raw, -1)
		if len(all) != 1 {
			t.Fatalf("%s is there %d times", pattern, len(all))
		}
		return all[0][1]
	}
	want := []string{
		"default-src 'none'",
		"script-src " + hashSource(inside(`(?s)<script>(.*?)</script>`)),
		"style-src " + hashSource(inside(`(?s)<style>(.*?)</style>`)),
		"connect-src 'self'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
	}
	if have := strings.Split(got.header.Get("Content-Security-Policy"), "; "); !slices.Equal(have, want) {
		t.Errorf("the policy is %q, want %q", have, want)
	}
}

// What would weaken the page, or would need more than its policy allows, is not
// in it: a reader of a change need not look for it.
func TestApprovalPageHoldsNothingThatItShouldNot(t *testing.T) {
	for name, text := range map[string]string{"approve.html": approveHTML, "approve.css": approveCSS, "approve.js": approveJS} {
		for what, pattern := range map[string]string{
			"markup made of text":   `innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setHTML|createContextualFragment|srcdoc`,
			"text run as code":      `\beval\b|\bFunction\(|setTimeout\(\s*["'\x60]|javascript:|\bimport\b`,
			"an address elsewhere":  `(?i)https?:|["'(\x60=]//|\burl\(|@import|\bwss?:|data:`,
			"an inline handler":     `(?i)\son[a-z]+\s*=\s*["']|\sstyle\s*=`,
			"something that stays":  `localStorage|sessionStorage|indexedDB|\.cookie|serviceWorker|caches\.|history\.`,
			"a field with a name":   `<(input|textarea|button)[^>]*\sname=`,
			"another way out":       `XMLHttpRequest|sendBeacon|WebSocket|EventSource|window\.open|postMessage|target=`,
			"another kind of line":  `\r`,
			"an end of its element": `(?i)</(script|style)\b`,
		} {
			if name == "approve.html" && what == "an end of its element" {
				continue // it has just the two that TestApprovalPageHeaders counts
			}
			if found := regexp.MustCompile(pattern).FindString(text); found != "" {
				t.Errorf("%s has %s: %q", name, what, found)
			}
		}
	}
}

// The page comes without the gate, the store or a token: nothing can be asked,
// learned or changed by opening it, in whatever way.
func TestApprovalPageNeverTouchesTheGate(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Gate, o.Store, o.Tokens = nil, nil, nil })
	first := r.must(200, "", "GET", "/approve", "").raw
	for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"X-Tenant-ID", "acme"}, {"Cookie", "a=b"}, {"Origin", "https://elsewhere.example"}} {
		if got := r.must(200, "", "GET", "/approve", "", header...); got.raw != first {
			t.Errorf("%v: another page", header)
		}
	}
	for _, query := range []string{"?tenant=acme&id=" + someID, "?token=x", "?x", "?&", "?%zz"} {
		got := r.must(400, "", "GET", "/approve"+query, "")
		if problemType(got) != "bad_request" || strings.Contains(got.raw, "acme") {
			t.Errorf("%s: %s", query, got.raw)
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS"} { // HEAD as everywhere: no route has it
		if got := r.do("", method, "/approve", ""); got.status != 405 || got.header.Get("Allow") != "GET" {
			t.Errorf("%s: %d", method, got.status)
		}
	}
	r.must(404, "", "GET", "/approve/", "")
}

// With --dev a page of another name that points here gets nothing.
func TestApprovalPageOfAnotherHost(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Dev = true })
	req := httptest.NewRequest("GET", "/approve", nil)
	req.Host = "rebound.example"
	if got := r.send(req); got.status != 421 {
		t.Errorf("%d", got.status)
	}
}
