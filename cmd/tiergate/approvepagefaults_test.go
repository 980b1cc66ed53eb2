package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

// Where the answer to a yes is lost, the page does not guess.
func TestApprovalPageWithoutTheGate(t *testing.T) {
	r := newPageRig(t)
	id := r.ask(t, "agent", "isolate_host", "host:lost")
	p := watchedTab(t, r.browser)
	p.do("follow the link", chromedp.Navigate(r.link(id)))
	p.enter("anna")
	p.sees("#target", "host:lost")
	r.gate.Kill()
	p.approve("yes")
	p.sees("#trouble", "The gate could not be reached", "is not known: look again")
	p.click("#again")
	p.sees("#trouble", "The gate could not be reached", "Nothing was changed")
}

// between is a proxy before the gate that answers the next request of a method
// itself, once.
type between struct {
	gate http.Handler
	next atomic.Pointer[reply]
}

type reply struct {
	method     string
	status     int
	kind, body string
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := b.next.Load()
	if a == nil || a.method != r.Method || !strings.Contains(r.URL.Path, "/approvals/") {
		b.gate.ServeHTTP(w, r)
		return
	}
	b.next.Store(nil)
	w.Header().Set("Content-Type", a.kind)
	if a.status == http.StatusFound {
		w.Header().Set("Location", "/openapi.json")
	}
	w.WriteHeader(a.status)
	fmt.Fprint(w, a.body)
}

// Every way in which an answer can fail is said in words, and after a vote also
// whether it was taken or must be looked up.
func TestApprovalPageSaysWhatWentWrong(t *testing.T) {
	r := newPageRig(t)
	target, err := url.Parse(r.gate.URL)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{gate: httputil.NewSingleHostReverseProxy(target)}
	front := httptest.NewServer(b)
	defer front.Close()
	id := r.ask(t, "agent", "isolate_host", "host:faults")
	p := watchedTab(t, r.browser)
	p.do("follow the link", chromedp.Navigate(front.URL+"/approve#tenant=acme&id="+id))
	p.enter("anna")
	p.sees("#target", "host:faults")
	problem := func(kind string) string {
		return fmt.Sprintf(`{"type":"https://tiergate.dev/problems/%s","title":"x","status":500,"detail":"<b>because of %s</b>\u202e"}`, kind, kind)
	}
	for _, c := range []struct {
		status int
		kind   string
		words  []string
	}{
		{http.StatusBadRequest, "bad_request", []string{"did not take the request", `<b>because of bad_request</b>\u{202E}`, "Your answer was not taken"}},
		{http.StatusConflict, "parameters_gone", []string{"not known in full any more", "because of parameters_gone"}},
		{http.StatusGone, "gone", []string{"It is gone", "Your answer was not taken"}},
		{http.StatusInternalServerError, "policy_error", []string{"policy cannot release", "Look again"}},
		{http.StatusInternalServerError, "internal", []string{"answered 500", "is not known: look again"}},
		{http.StatusServiceUnavailable, "log_unavailable", []string{"cannot reach its database", "Look again before you answer again"}},
		{http.StatusServiceUnavailable, "approval_busy", []string{"Others answer at the same moment", "Look again"}},
		{http.StatusServiceUnavailable, "timeout", []string{"cannot answer now", "Look again"}},
	} {
		b.next.Store(&reply{"POST", c.status, "application/problem+json", problem(c.kind)})
		p.approve("yes")
		p.sees("#trouble", c.words...)
	}
	for status, words := range map[int]string{http.StatusOK: "answered 200", http.StatusBadGateway: "answered 502", http.StatusFound: "could not be reached"} {
		b.next.Store(&reply{"POST", status, "text/html", "<h1>a proxy</h1>"})
		p.approve("yes")
		p.sees("#trouble", words, "is not known: look again")
	}

	other := strings.Replace(id, id[:1], map[bool]string{true: "1", false: "0"}[id[0] == '0'], 1)
	b.next.Store(&reply{"GET", http.StatusOK, "application/json", `{"id":"` + other + `","tenant_id":"acme","status":"pending","action_type":"ack_alert","target":"host:other"}`})
	p.click("#again")
	p.sees("#trouble", "answered about another approval")
	if got := p.text("#target"); got != "host:faults" {
		t.Errorf("it shows %q", got)
	}
	b.next.Store(&reply{"GET", http.StatusUnauthorized, "application/problem+json", problem("unauthorized")})
	p.click("#again")
	p.sees("#trouble", "does not know this token")
	p.sees("#token-form", "Your token") // and what was shown is gone
	if got := r.state(t, id); got.Status != "pending" || len(got.Events) != 1 {
		t.Errorf("it moved: %+v", got)
	}
}
