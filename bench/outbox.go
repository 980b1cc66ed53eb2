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
const outboxRounds = 15

// The gates that are compared: one announces nothing; one leaves everything in
// the outbox and its receiver is away, so that this is all that it pays; and one
// announces everything to a receiver that takes it.
const (
	silent = iota
	away
	announced
	outboxSides
)

// outboxTable is what the outbox, and what announcing costs when a whitelist
// entry lets every action go.
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

// startAnnouncing starts the gates, each on a database of its own.
func startAnnouncing(s *scratch, o *options, receiver string) (gates [outboxSides]announcing, err error) {
	dir := s.TempDir()
	binary, tokens := filepath.Join(dir, "tiergate"), filepath.Join(dir, "tokens")
	o.say("outbox: building tiergate, starting PostgreSQL and three gates")
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
		if i != silent {
			notify = `, "notify": ["webhook:siem"]`
		}
		url := receiver
		if i == away {
			nobody, err := freeAddr()
			if err != nil {
				return gates, err
			}
			url = "http://" + nobody
		}
		for _, c := range [][3]string{
			{http.MethodPut, "/config", `{"maturity_tier": 4, "reason": "bench"}`},
			{http.MethodPut, "/channels/siem", `{"format": "webhook", "url": "` + url + `", "reason": "bench"}`},
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

func compareOutbox(ctx context.Context, o *options, gates [outboxSides]announcing, told *atomic.Int64) (*table, error) {
	t := &table{
		title:  "Outbox: answers per second when a whitelist entry with notify fires on each",
		header: []string{"connections", "no notify", "p99", "outbox", "p99", "outbox / none", "CPU", "and sent", "p99", "sent / none", "CPU"},
	}
	for _, g := range gates {
		if _, err := drive(ctx, g.addr, g.requests, 64, o.benchtime); err != nil {
			return nil, err
		}
		if err := g.process.Signal(syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	worst := [outboxSides]float64{1, 1, 1}
	for _, conns := range []int{16, 64, 256} {
		var loads [outboxSides][]load
		var ratios [outboxSides][]float64
		var cpu [outboxSides]float64 // seconds an answer
		for round := range outboxRounds {
			for turn := range outboxSides {
				side := (round + turn) % outboxSides
				g := gates[side]
				o.say("outbox: %d connections, round %d of %d, gate %d", conns, round+1, outboxRounds, side+1)
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
			for side := away; side < outboxSides; side++ {
				ratios[side] = append(ratios[side], loads[side][round].rate/loads[silent][round].rate)
			}
		}
		none := medianLoad(loads[silent])
		cells := []string{fmt.Sprint(conns), perSecond(none.rate), millis(none.p99)}
		for side := away; side < outboxSides; side++ {
			ratio, l := median(ratios[side]), medianLoad(loads[side])
			worst[side] = min(worst[side], ratio)
			cells = append(cells, perSecond(l.rate), millis(l.p99), fmt.Sprintf("%.3f", ratio), fmt.Sprintf("× %.3f", cpu[side]/cpu[silent]))
		}
		t.add(cells...)
	}
	t.goal(worst[away] >= 0.95, "the outbox costs %.1f%% of the answers per second at most (goal: at most 5%%); with 32 webhooks a second to a receiver on the same machine it is %.1f%%", 100*(1-worst[away]), 100*(1-worst[announced]))
	t.note("Three `tiergate serve`, each on a PostgreSQL database of its own, in turns; the others are stopped meanwhile, so that what a gate has left to send counts in its own turns. A whitelist entry lets every action go. The receiver of the second gate is away: it pays for leaving everything in the outbox, for what it makes of that, and for trying. The median of the %d ratios counts.", outboxRounds)
	t.note("CPU is the processor time of the gate, PostgreSQL, the load generator and the receiver, for each answer, over that without notify: what it costs on a machine that is busy otherwise, too.")
	t.note("%d announcements were taken by the receiver, a server in the load generator's process, during these turns; the rest waits in the outbox.", told.Load())
	return t, nil
}
