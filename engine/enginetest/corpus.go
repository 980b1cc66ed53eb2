// Package enginetest makes input documents for tests: random ones with many values at the boundaries, and the corpus that
// engines are compared on.
package enginetest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// Corpus makes the n input documents that engines are compared on: 40% that
// only the tier decides, 20% with one override, 30% with three whitelist
// candidates, 10% of an unknown action type. bench/corpus.jsonl is Corpus(1000).
func Corpus(n int) [][]byte {
	r := rand.New(rand.NewPCG(42, 42))
	var known []string
	for _, group := range [][]string{
		{"notify_slack", "create_ticket", "chatops_verify", "search_siem", "ack_alert"},
		{"quarantine_file", "capture_forensics", "add_ioc_to_blocklist", "run_av_scan", "create_notable_event", "suppress_alert"},
		{"block_ip", "allow_ip", "block_domain", "block_ioc", "reset_password", "force_mfa", "kill_process", "run_playbook", "sync_detection_rule", "update_watcher"},
		{"isolate_host", "disable_user", "suspend_session", "run_script"},
	} {
		known = append(known, group...)
	}
	docs := make([][]byte, n)
	for i := range docs {
		address := fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256))
		request := map[string]any{"action_type": pick(r, known), "target": fmt.Sprintf("host:wks-%03d", r.IntN(500)), "actor": "system",
			"confidence": json.Number(fmt.Sprintf("0.%02d", 50+r.IntN(49)))}
		tenant := map[string]any{"id": "acme", "maturity_tier": r.IntN(5), "stopped": false}
		overrides, whitelist := []any{}, []any{}
		switch k := i % 10; {
		case k < 4:
		case k < 6:
			request["action_type"] = pick(r, known[:21])
			request["target"] = address
			overrides = append(overrides, pick(r, []any{
				map[string]any{"mode": "force_auto", "constraints": map[string]any{"min_confidence": json.Number("0.95"), "not_target_cidr": []string{"10.0.0.0/9", "192.168.0.0/16"}}, "expires_at": nil},
				map[string]any{"mode": "require_approval", "constraints": map[string]any{"target_cidr": []string{"10.0.0.0/9", "172.16.0.0/12", "192.168.0.0/16"}}, "expires_at": nil},
				map[string]any{"mode": "block", "constraints": map[string]any{"target_prefix": "host:dc-"}, "expires_at": "2027-01-01T00:00:00.000Z"},
				map[string]any{"mode": "force_auto", "constraints": map[string]any{}, "expires_at": "2026-12-01T00:00:00.000Z"},
			}))
		case k < 9:
			request["action_type"] = pick(r, known[21:])
			tenant["maturity_tier"] = 4
			byAddress := r.IntN(2) == 0
			if byAddress {
				request["target"] = address
			}
			for j := range 3 {
				c := map[string]any{"target_prefix": []string{"host:wks-", "host:lab-"}}
				if byAddress {
					c = map[string]any{"target_cidr": []string{"10.0.0.0/8"}}
				}
				if j < 2 {
					c["min_confidence"] = json.Number([]string{"0.99", "0.9"}[j])
				}
				whitelist = append(whitelist, map[string]any{"id": fmt.Sprintf("0197f1c2-0000-7000-8000-%012d", j), "action_type": request["action_type"],
					"constraints": c, "expires_at": "2026-12-31T23:59:59.000Z"})
			}
		default:
			request["action_type"] = "wipe_disk"
		}
		b, err := json.Marshal(map[string]any{"now": "2026-11-23T08:00:00.123Z", "request": request, "tenant": tenant, "overrides": overrides, "whitelist": whitelist})
		if err != nil {
			panic(err)
		}
		docs[i] = b
	}
	return docs
}
