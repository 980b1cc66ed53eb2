package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
)

const approvals = base + "/approvals"

// queue asks for an action that waits for approval, and returns the ids of its
// decision and its approval.
func (r *rig) queue(token, body string) (decision, approval string) {
	r.t.Helper()
	got := r.must(200, token, "POST", decisions, body)
	a, _ := got.body["approval"].(map[string]any)
	if got.body["decision"] != "queued_approval" || a["status"] != "pending" || a["expires_at"] == nil {
		r.t.Fatalf("want a queued_approval with a pending approval: %s", got.raw)
	}
	return got.body["decision_id"].(string), a["id"].(string)
}

const isolate = `{"action_type":"isolate_host","target":"host:wks-042","parameters":{"ttl":3600}}`

func problemType(r reply) string {
	text, _ := r.body["type"].(string)
	return strings.TrimPrefix(text, typeBase)
}

func TestApprovalOverHTTP(t *testing.T) {
	r := newRig(t)
	decision, id := r.queue("acme-agent", isolate)
	path := approvals + "/" + id
	shown := r.must(200, "acme-approver", "GET", path, "")
	if shown.body["status"] != "pending" || shown.body["requester"] != "acme-agent" || fmt.Sprint(shown.body["parameters"]) != "map[ttl:3600]" || shown.body["decision_id"] != decision {
		t.Errorf("shown: %s", shown.raw)
	}
	r.must(404, "globex-approver", "GET", path, "")
	r.must(404, "globex-approver", "POST", path+"/approve", `{"comment":"yes"}`)
	r.must(404, "acme-approver", "GET", approvals+"/x", "")
	got := r.must(200, "acme-approver", "POST", path+"/approve", `{"comment":"checked with the user"}`)
	if got.body["status"] != "released" || got.body["released_by"] != "acme-approver" || got.body["valid_until"] == nil || fmt.Sprint(got.body["approvers"]) != "[acme-approver]" {
		t.Errorf("approved: %s", got.raw)
	}
	row := r.must(200, "acme-agent", "GET", decisions+"/"+decision, "")
	again := row.body["superseded_by"].(string)
	if a := row.body["approval"].(map[string]any); a["status"] != "released" || a["release_decision_id"] != again || row.body["decision"] != "queued_approval" {
		t.Errorf("the decision: %s", row.raw)
	}
	made := r.must(200, "acme-agent", "GET", decisions+"/"+again, "")
	if made.body["supersedes"] != decision || made.body["approval_id"] != id || made.body["decision"] != "queued_approval" || made.body["valid_until"] != got.body["valid_until"] {
		t.Errorf("made again: %s", made.raw)
	}
	if twice := r.must(409, "acme-approver", "POST", path+"/approve", `{"comment":"yes"}`); problemType(twice) != "approval_closed" || !strings.Contains(twice.raw, "released") {
		t.Errorf("twice: %s", twice.raw)
	}
	r.must(409, "acme-approver", "POST", path+"/deny", `{"comment":"no"}`)
	r.must(409, "acme-agent", "POST", path+"/cancel", `{"reason":"no"}`)
	events := r.must(200, "acme-auditor", "GET", path, "").body["events"].([]any)
	if last := events[len(events)-1].(map[string]any); len(events) != 3 || last["rule"] != "approved_in_time" || events[1].(map[string]any)["comment"] != "checked with the user" {
		t.Errorf("events: %v", events)
	}
}

func TestVotesThatDoNotCount(t *testing.T) {
	r := newRig(t)
	_, own := r.queue("acme-all", isolate)
	for token, kind := range map[string]string{"acme-bot": "vote_not_counted", "acme-operator": "vote_not_counted", "acme-agent": "forbidden", "acme-auditor": "forbidden"} {
		if got := r.must(403, token, "POST", approvals+"/"+own+"/approve", `{"comment":"yes"}`); problemType(got) != kind {
			t.Errorf("%s: %s", token, got.raw)
		}
	}
	// CRITICAL takes two people; one with two tokens is one.
	decision, id := r.queue("acme-agent", `{"action_type":"wipe_disk","target":"host:a"}`)
	path := approvals + "/" + id
	if got := r.must(200, "acme-olga", "POST", path+"/approve", `{"comment":"yes"}`); got.body["status"] != "pending" || got.body["approvals_needed"] != 2.0 {
		t.Errorf("the first of two: %s", got.raw)
	}
	if got := r.must(409, "acme-olga2", "POST", path+"/approve", `{"comment":"yes"}`); problemType(got) != "already_approved" {
		t.Errorf("one person with two tokens: %s", got.raw)
	}
	if got := r.must(200, "acme-approver", "POST", path+"/approve", `{"comment":"yes"}`); got.body["status"] != "released" {
		t.Errorf("the second: %s", got.raw)
	}
	if got := r.must(200, "acme-auditor", "GET", base+"/gate-log?decision=auto&blast_radius=CRITICAL", ""); len(got.body["entries"].([]any)) != 0 {
		t.Errorf("CRITICAL and auto: %s", got.raw)
	}
	r.must(201, "acme-agent", "POST", decisions+"/"+decision+"/outcome", `{"status":"executed"}`)
	// Who asked takes it back, nobody else.
	_, id = r.queue("acme-agent", `{"action_type":"isolate_host","target":"host:b"}`)
	if got := r.must(403, "acme-operator", "POST", approvals+"/"+id+"/cancel", `{"reason":"not mine"}`); problemType(got) != "not_requester" {
		t.Errorf("cancelled by somebody else: %s", got.raw)
	}
	if got := r.must(200, "acme-agent", "POST", approvals+"/"+id+"/cancel", `{"reason":"solved"}`); got.body["status"] != "cancelled" {
		t.Errorf("cancelled: %s", got.raw)
	}
	_, id = r.queue("acme-agent", `{"action_type":"isolate_host","target":"host:b"}`)
	if got := r.must(200, "acme-approver", "POST", approvals+"/"+id+"/deny", `{"comment":"it is the CEO's"}`); got.body["status"] != "denied" {
		t.Errorf("denied: %s", got.raw)
	}
}

// The same action joins, another one does not, and an action_id that comes back
// with other parameters is refused before anybody could approve the wrong thing.
func TestAsksJoin(t *testing.T) {
	r := newRig(t)
	const action = `"action_id":"0197f1c2-0000-7000-8000-00000000000a"`
	_, id := r.queue("acme-agent", `{`+action+`,"action_type":"isolate_host","target":"host:a","parameters":{"a":1,"b":2}}`)
	if _, same := r.queue("acme-operator", `{"action_type":"isolate_host","parameters":{"b":2,"a":1.0},"target":"host:a","confidence":0.5}`); same != id {
		t.Error("the same action opened another approval")
	}
	for _, other := range []string{`"target":"host:b","parameters":{"a":1,"b":2}`, `"target":"host:a","parameters":{"a":1,"b":3}`, `"target":"host:a"`} {
		if _, got := r.queue("acme-agent", `{"action_type":"isolate_host",`+other+`}`); got == id {
			t.Errorf("%s joined", other)
		}
	}
	if got := r.must(409, "acme-agent", "POST", decisions, `{`+action+`,"action_type":"isolate_host","target":"host:a","parameters":{"a":1,"b":3}}`); problemType(got) != "action_id_conflict" {
		t.Errorf("%s", got.raw)
	}
	got := r.must(200, "acme-auditor", "GET", approvals+"/"+id, "")
	if fmt.Sprint(got.body["requesters"]) != "[acme-agent acme-operator]" {
		t.Errorf("requesters: %s", got.raw)
	}
	// The answer that is repeated says where the approval stands by then.
	r.must(200, "acme-approver", "POST", approvals+"/"+id+"/approve", `{"comment":"yes"}`)
	repeated := r.must(200, "acme-agent", "POST", decisions, `{`+action+`,"action_type":"isolate_host","target":"host:a","parameters":{"a":1,"b":2}}`)
	if a := repeated.body["approval"].(map[string]any); a["status"] != "released" {
		t.Errorf("repeated: %s", repeated.raw)
	}
}

func TestListApprovals(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.queue("acme-agent", fmt.Sprintf(`{"action_type":"isolate_host","target":"host:%d"}`, i))
	}
	_, denied := r.queue("acme-agent", `{"action_type":"block_ip","target":"203.0.113.1"}`)
	r.must(200, "acme-approver", "POST", approvals+"/"+denied+"/deny", `{"comment":"no"}`)
	for query, want := range map[string]int{"": 6, "?status=pending": 5, "?status=denied": 1, "?status=expired": 0, "?action_type=block_ip": 1, "?blast_radius=HIGH": 5, "?status=pending&blast_radius=MEDIUM": 0} {
		if got := r.must(200, "acme-approver", "GET", approvals+query, ""); len(got.body["entries"].([]any)) != want {
			t.Errorf("%s: %s", query, got.raw)
		}
	}
	seen, cursor := map[string]bool{}, ""
	for page := 0; ; page++ {
		got := r.must(200, "acme-approver", "GET", approvals+"?limit=4"+cursor, "")
		for _, e := range got.body["entries"].([]any) {
			seen[e.(map[string]any)["id"].(string)] = true
		}
		next, more := got.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	if len(seen) != 6 {
		t.Errorf("%d approvals in all pages", len(seen))
	}
	r.must(400, "acme-approver", "GET", approvals+"?status=released"+cursor, "") // another query's cursor
	for _, bad := range []string{"?status=open", "?blast_radius=high", "?action_type=X", "?limit=0", "?limit=501", "?cursor=zzz", "?tenant=acme"} {
		r.must(400, "acme-approver", "GET", approvals+bad, "")
	}
	if got := r.must(200, "globex-approver", "GET", approvals, ""); len(got.body["entries"].([]any)) != 0 {
		t.Errorf("another tenant's: %s", got.raw)
	}
}

func TestHostileVotes(t *testing.T) {
	r := newRig(t)
	_, id := r.queue("acme-agent", isolate)
	path := approvals + "/" + id
	for _, body := range []string{
		``, `{}`, `null`, `[]`, `"yes"`, `{"comment":""}`, `{"comment":null}`, `{"comment":1}`, `{"Comment":"yes"}`, `{"comment":"yes","comment":"yes"}`, `{"comment":"yes","person":"olga"}`,
		`{"comment":"yes","roles":["approver"]}`, `{"comment":"yes"} x`, `{"comment":"\u0000"}`, "{\"comment\":\"\xff\"}", `{"comment":"\ud800"}`, "\ufeff" + `{"comment":"yes"}`,
		`{"comment":"` + strings.Repeat("a", 1001) + `"}`, `{"comment":"yes"`, strings.Repeat("[", 10000),
	} {
		for _, verdict := range []string{"/approve", "/deny"} {
			if got := r.do("acme-approver", "POST", path+verdict, body); got.status != 400 && got.status != 415 {
				t.Errorf("%s %.60q: %d %s", verdict, body, got.status, got.raw)
			}
		}
	}
	r.must(413, "acme-approver", "POST", path+"/approve", `{"comment":"`+strings.Repeat("a", maxBody)+`"}`)
	r.must(415, "acme-approver", "POST", path+"/approve", `{"comment":"yes"}`, "Content-Type", "text/plain")
	r.must(400, "acme-approver", "POST", path+"/approve?force=true", `{"comment":"yes"}`)
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		r.must(405, "acme-approver", method, path+"/approve", "")
	}
	if got := r.must(200, "acme-approver", "GET", path, ""); got.body["status"] != "pending" || len(got.body["events"].([]any)) != 1 {
		t.Errorf("something was changed: %s", got.raw)
	}
}

func TestOutcomes(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-operator", "PUT", base+"/config", `{"maturity_tier":3}`)
	auto := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"block_ip","target":"203.0.113.9"}`).body["decision_id"].(string)
	silent := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"block_ip","target":"203.0.113.10"}`).body["decision_id"].(string)
	queued, id := r.queue("acme-agent", isolate)
	if got := r.must(409, "acme-agent", "POST", decisions+"/"+queued+"/outcome", `{"status":"executed"}`); problemType(got) != "not_let_go" {
		t.Errorf("%s", got.raw)
	}
	r.must(200, "acme-approver", "POST", approvals+"/"+id+"/approve", `{"comment":"yes"}`)
	again := r.must(200, "acme-agent", "GET", decisions+"/"+queued, "").body["superseded_by"].(string)
	listed := func(outcome string, want ...string) {
		t.Helper()
		got := r.must(200, "acme-auditor", "GET", base+"/gate-log?outcome="+outcome, "")
		ids := map[string]bool{}
		for _, e := range got.body["entries"].([]any) {
			ids[e.(map[string]any)["decision_id"].(string)] = true
		}
		ok := len(ids) == len(want)
		for _, id := range want {
			ok = ok && ids[id]
		}
		if !ok {
			t.Errorf("outcome=%s lists %v, want %v", outcome, ids, want)
		}
	}
	listed("none", auto, silent, again)
	first := r.must(201, "acme-agent", "POST", decisions+"/"+auto+"/outcome", `{"status":"failed","detail":"firewall said no"}`)
	if same := r.must(200, "acme-agent", "POST", decisions+"/"+auto+"/outcome", `{"status":"failed","detail":"firewall said no"}`); same.raw != first.raw {
		t.Errorf("reported twice: %s, %s", first.raw, same.raw)
	}
	if got := r.must(201, "acme-agent", "POST", decisions+"/"+queued+"/outcome", `{"status":"executed"}`); got.body["decision_id"] != again {
		t.Errorf("reported under the decision that asked: %s", got.raw)
	}
	listed("none", silent)
	listed("failed", auto)
	listed("executed", again)
	r.must(201, "acme-agent", "POST", decisions+"/"+again+"/outcome", `{"status":"rolled_back","detail":"by hand"}`)
	listed("executed")
	listed("rolled_back", again)
	if got := r.must(200, "acme-agent", "GET", decisions+"/"+queued, "").body["outcomes"].([]any); len(got) != 2 {
		t.Errorf("outcomes of the decision: %v", got)
	}
	r.must(404, "globex-all", "POST", decisions+"/"+auto+"/outcome", `{"status":"executed"}`)
	r.must(403, "acme-auditor", "POST", decisions+"/"+auto+"/outcome", `{"status":"executed"}`)
	r.must(400, "acme-auditor", "GET", base+"/gate-log?outcome=done", "")
	for _, body := range []string{`{}`, `{"status":"done"}`, `{"status":"executed","detail":1}`, `{"status":"executed","x":1}`, `{"status":"executed","detail":"` + strings.Repeat("a", 4097) + `"}`} {
		r.must(400, "acme-agent", "POST", decisions+"/"+auto+"/outcome", body)
	}
}

func TestLongPoll(t *testing.T) {
	r := newRig(t)
	decision, id := r.queue("acme-agent", isolate)
	start := time.Now()
	if got := r.must(200, "acme-agent", "GET", decisions+"/"+decision+"?wait=100ms", ""); got.body["approval"].(map[string]any)["status"] != "pending" || time.Since(start) < 100*time.Millisecond {
		t.Errorf("after %v: %s", time.Since(start), got.raw)
	}
	answered := make(chan time.Time)
	go func() {
		got := r.do("acme-agent", "GET", decisions+"/"+decision+"?wait=30s", "")
		if a, _ := got.body["approval"].(map[string]any); got.status != 200 || a["status"] != "released" || got.body["superseded_by"] == nil {
			t.Errorf("waited for: %d %s", got.status, got.raw)
		}
		answered <- time.Now()
	}()
	time.Sleep(100 * time.Millisecond)
	r.must(200, "acme-approver", "POST", approvals+"/"+id+"/approve", `{"comment":"yes"}`)
	approved := time.Now()
	t.Logf("answered %v after the approval was", (<-answered).Sub(approved))
	for _, bad := range []string{"61s", "-1s", "30", "x", "1h"} {
		r.must(400, "acme-agent", "GET", decisions+"/"+decision+"?wait="+bad, "")
	}
	start = time.Now()
	r.must(200, "acme-agent", "GET", decisions+"/"+decision+"?wait=30s", "")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("waited %v for what has ended", took)
	}
}

// A bundle from before approvals decides, and nothing can be approved under it.
func TestBundleWithoutRelease(t *testing.T) {
	r := newRig(t, withOldBundle(t))
	_, id := r.queue("acme-agent", isolate)
	got := r.must(http.StatusInternalServerError, "acme-approver", "POST", approvals+"/"+id+"/approve", `{"comment":"yes"}`)
	if problemType(got) != "policy_error" || !strings.Contains(got.raw, "data.gate.release") {
		t.Errorf("%s", got.raw)
	}
	if a := r.must(200, "acme-approver", "GET", approvals+"/"+id, ""); a.body["status"] != "pending" || len(a.body["events"].([]any)) != 1 {
		t.Errorf("something was changed: %s", a.raw)
	}
}

// withOldBundle gives the gate a policy without data.gate.release.
func withOldBundle(t *testing.T) func(*Options) {
	return func(o *Options) {
		src := shippedSource(t)
		for path := range src.Modules {
			if strings.HasSuffix(path, "/release.rego") {
				delete(src.Modules, path)
			}
		}
		p, err := engine.NewPolicy(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		o.Gate.(*engine.Gate).Activate(p, 0)
	}
}
