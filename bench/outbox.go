package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/tiergate/tiergate/store/storetest"
)

// outboxRounds is how often each side is measured, in turns.
const outboxRounds = 9

// outboxTable is what announcing costs when a whitelist entry lets every action
// go: two gates of which one announces each to a receiver that takes it.
func outboxTable(ctx context.Context, o *options) (t *table, err error) {
	return t, withScratch(ctx, func(s *scratch) error {
		var told atomic.Int64
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			told.Add(1)
			w.WriteHeader(http.StatusNoContent)
		}))
		s.Cleanup(receiver.Close)
		gates, err := startAnnouncing(s, o, receiver.URL)
		if err != nil {
			return err
		}
		t, err = compareOutbox(ctx, o, gates, &told)
		return err
	})
}

// announcing is a gate that is stopped while the other one is measured, with all
// that it has left to send.
type announcing struct {
	server
	process *os.Process
}

// startAnnouncing starts a gate that announces nothing and one that announces
// everything, each on a database of its own.
func startAnnouncing(s *scratch, o *options, receiver string) (gates [2]announcing, err error) {
	dir := s.TempDir()
	binary, tokens := filepath.Join(dir, "tiergate"), filepath.Join(dir, "tokens")
	o.say("outbox: building tiergate, starting PostgreSQL and two gates")
	if err := build(s.ctx, "..", "./cmd/tiergate", binary); err != nil {
		return gates, err
	}
	line := fmt.Sprintf("%x bench * agent,operator\n", sha256.Sum256([]byte(token)))
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		return gates, err
	}
	for i := range gates {
		g := &gates[i]
		if g.addr, err = freeAddr(); err != nil {
			return gates, err
		}
		if g.process, err = startProcess(s, "http://"+g.addr+"/readyz", false, binary, "serve", "--addr", g.addr,
			"--database-url", storetest.Postgres(s), "--tokens", tokens, "--announce-allow", "127.0.0.0/8"); err != nil {
			return gates, err
		}
		notify := ""
		if i == 1 {
			notify = `, "notify": ["webhook:siem"]`
		}
		for _, c := range [][3]string{
			{http.MethodPut, "/config", `{"maturity_tier": 4, "reason": "bench"}`},
			{http.MethodPut, "/channels/siem", `{"format": "webhook", "url": "` + receiver + `", "reason": "bench"}`},
			{http.MethodPost, "/whitelist", `{"action_type": "isolate_host", "constraints": {"target_prefix": "host:lab-"}, "expires_at": "` + never + `", "reason": "bench"` + notify + `}`},
		} {
			if err := configure(g.addr, "acme", c[0], c[1], c[2]); err != nil {
				return gates, err
			}
		}
		for k := range 100 {
			body := fmt.Sprintf(`{"action_type": "isolate_host", "target": "host:lab-%d"}`, k)
			g.requests = append(g.requests, httpRequest(apiBase+"/decisions", []byte(body), "Authorization: Bearer "+token, "X-Tenant-ID: acme"))
		}
	}
	return gates, nil
}

func compareOutbox(ctx context.Context, o *options, gates [2]announcing, told *atomic.Int64) (*table, error) {
	t := &table{
		title:  "Outbox: answers per second when each is announced to a webhook",
		header: []string{"connections", "not announced", "p99", "announced", "p99", "announced / not", "CPU per answer"},
	}
	for _, g := range gates {
		if _, err := drive(ctx, g.addr, g.requests, 64, o.benchtime); err != nil {
			return nil, err
		}
		if err := g.process.Signal(syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	worst := 1.0
	for _, conns := range []int{16, 64, 256} {
		var loads [2][]load
		var ratios []float64
		var cpu [2]float64 // seconds an answer
		for round := range outboxRounds {
			for turn := range 2 {
				side := (round + turn) % 2
				g := gates[side]
				o.say("outbox: %d connections, round %d of %d, announced %v", conns, round+1, outboxRounds, side == 1)
				if err := g.process.Signal(syscall.SIGCONT); err != nil {
					return nil, err
				}
				before, err := cpuOf("postgres", g.process.Pid, os.Getpid())
				if err != nil {
					return nil, err
				}
				l, err := drive(ctx, g.addr, g.requests, conns, o.benchtime*2)
				if err != nil {
					return nil, err
				}
				after, err := cpuOf("postgres", g.process.Pid, os.Getpid())
				if err != nil {
					return nil, err
				}
				cpu[side] += (after - before).Seconds() / (l.rate * (o.benchtime*2 + warmUp).Seconds()) / outboxRounds
				if err := g.process.Signal(syscall.SIGSTOP); err != nil {
					return nil, err
				}
				loads[side] = append(loads[side], l)
			}
			ratios = append(ratios, loads[1][round].rate/loads[0][round].rate)
		}
		ratio := median(ratios)
		worst = min(worst, ratio)
		without, with := medianLoad(loads[0]), medianLoad(loads[1])
		t.add(fmt.Sprint(conns), perSecond(without.rate), millis(without.p99), perSecond(with.rate), millis(with.p99), fmt.Sprintf("%.3f", ratio), fmt.Sprintf("%.0f → %.0f µs (%.3f)", 1e6*cpu[0], 1e6*cpu[1], cpu[1]/cpu[0]))
	}
	t.goal(worst >= 0.95, "announcing costs %.1f%% of the answers per second at most (goal: at most 5%%)", 100*(1-worst))
	t.note("Two `tiergate serve`, each on a PostgreSQL database of its own, in turns; the other one is stopped meanwhile, so that what it has left to send counts in its own turns. A whitelist entry lets every action go. The median of the %d ratios counts.", outboxRounds)
	t.note("CPU per answer is the processor time of the gate, PostgreSQL, the load generator and the receiver, over the answers: what it costs on a machine that is busy otherwise, too.")
	t.note("%d announcements were taken by the receiver, a server in the load generator's process, during these turns; the rest waits in the outbox.", told.Load())
	return t, nil
}
