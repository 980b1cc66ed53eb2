package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tiergate/tiergate/engine/model"
	"github.com/tiergate/tiergate/store/storetest"
)

const httpRounds = 3

// server is one of the two that take turns.
type server struct {
	name, addr string
	requests   [][]byte
}

func httpTable(ctx context.Context, o *options) (*table, error) {
	var t *table
	err := withScratch(ctx, func(s *scratch) error {
		servers, err := startBoth(s, o)
		if err != nil {
			return err
		}
		for _, v := range servers {
			if err := checkAnswers(v); err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
		}
		t, err = compareHTTP(ctx, o, servers)
		return err
	})
	return t, err
}

// startBoth builds and starts `tiergate serve` on a PostgreSQL of its own and
// `opa run --server` with console decision logs, on the same bundle.
func startBoth(s *scratch, o *options) ([]server, error) {
	dir := s.TempDir()
	gate, opa, archive := filepath.Join(dir, "tiergate"), filepath.Join(dir, "opa"), filepath.Join(dir, "bundle.tar.gz")
	o.say("http: building tiergate and opa")
	if err := build(s.ctx, "..", "./cmd/tiergate", gate); err != nil {
		return nil, err
	}
	if err := build(s.ctx, ".", "github.com/open-policy-agent/opa", opa); err != nil {
		return nil, err
	}
	if err := runQuiet(s.ctx, gate, "bundle", "build", "-o", archive, "../policies"); err != nil {
		return nil, err
	}
	tokens := filepath.Join(dir, "tokens")
	line := fmt.Sprintf("%x bench * agent,operator\n", sha256.Sum256([]byte(token)))
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		return nil, err
	}
	a, b := server{name: "tiergate"}, server{name: "opa run"}
	var err error
	if a.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if b.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	o.say("http: starting PostgreSQL and both servers")
	if err := startServer(s, "http://"+a.addr+"/readyz", false, gate, "serve", "--addr", a.addr,
		"--database-url", storetest.Postgres(s), "--bundle", archive, "--tokens", tokens); err != nil {
		return nil, err
	}
	// Its log of requests is off (error), its log of decisions is not: that
	// has a level of its own.
	if err := startServer(s, "http://"+b.addr+"/health", true, opa, "run", "--server", "--addr", b.addr, "--log-level", "error",
		"--skip-version-check", "--set", "decision_logs.console=true", "--bundle", archive); err != nil {
		return nil, err
	}
	configs, requests, err := tenants(corpus())
	if err != nil {
		return nil, err
	}
	a.requests = requests
	for name, c := range configs {
		if err := c.apply(a.addr, name); err != nil {
			return nil, err
		}
	}
	for _, doc := range corpus() {
		body, err := json.Marshal(map[string]json.RawMessage{"input": doc})
		if err != nil {
			return nil, err
		}
		b.requests = append(b.requests, httpRequest("/v1/data/gate/decision", body))
	}
	return []server{a, b}, nil
}

// checkAnswers makes sure that a server decides the corpus as the model does:
// what is compared is the same work.
func checkAnswers(v server) error {
	for i, doc := range corpus() {
		text, err := askOnce(v.addr, v.requests[i])
		if err != nil {
			return err
		}
		var got struct {
			Rule   string
			Result struct{ Rule string }
		}
		if err := json.Unmarshal(text, &got); err != nil {
			return err
		}
		if want := model.Decide(doc).Rule; got.Rule+got.Result.Rule != want {
			return fmt.Errorf("the model says %s of %s, the server %s", want, doc, text)
		}
	}
	return nil
}

func compareHTTP(ctx context.Context, o *options, servers []server) (*table, error) {
	t := &table{
		title: "HTTP: answers per second, beside `opa run --server`",
		header: []string{"connections", "tiergate (durable)", "p50", "p99",
			"opa run (console log)", "p50", "p99", "tiergate / opa"},
	}
	for _, v := range servers { // connections opened, code paged in, tables no longer empty
		if _, err := drive(ctx, v.addr, v.requests, 64, o.benchtime); err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	wins := map[int]float64{}
	var alone load
	for _, conns := range []int{1, 16, 64, 256} {
		loads := make([][]load, len(servers))
		for round := range httpRounds {
			for i, v := range servers {
				o.say("http: %d connections, round %d of %d, %s", conns, round+1, httpRounds, v.name)
				l, err := drive(ctx, v.addr, v.requests, conns, o.benchtime*2)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", v.name, err)
				}
				loads[i] = append(loads[i], l)
			}
		}
		a, b := medianLoad(loads[0]), medianLoad(loads[1])
		if conns == 1 {
			alone = a
		}
		wins[conns] = a.rate / b.rate
		t.add(strconv.Itoa(conns), perSecond(a.rate), millis(a.p50), millis(a.p99), perSecond(b.rate), millis(b.p50), millis(b.p99), times(wins[conns]))
	}
	t.goal(wins[64] >= 1, "%s at 64 connections (goal: at least 1×)", times(wins[64]))
	t.goal(wins[256] >= 1.3, "%s at 256 connections (goal: at least 1.3×)", times(wins[256]))
	t.goal(alone.p50.Milliseconds() < 1, "a median of %s at 1 connection (goal: below 1 ms)", millis(alone.p50))
	t.note("tiergate: `tiergate serve` on PostgreSQL on the same machine; each answer's row is committed first. A request is %d bytes on average.", averageSize(servers[0].requests))
	t.note("opa run: `opa run --server` with the same bundle, console decision logs to /dev/null, no log of requests. A request is %d bytes on average, since it brings the facts that tiergate keeps.", averageSize(servers[1].requests))
	t.note("The load generator and PostgreSQL share the machine's cores with the servers. The servers take turns; the median of %d rounds counts.", httpRounds)
	return t, nil
}

func medianLoad(rounds []load) load {
	var rates []float64
	for _, l := range rounds {
		rates = append(rates, l.rate)
	}
	m := median(rates)
	for _, l := range rounds {
		if l.rate == m {
			return l
		}
	}
	return load{}
}

func averageSize(requests [][]byte) (n int) {
	for _, r := range requests {
		n += len(r)
	}
	return n / len(requests)
}
