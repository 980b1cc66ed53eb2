package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/tiergate/tiergate/store/storetest"
)

// shadowRounds is how often each side is measured, in turns.
const shadowRounds = 9

// shadowTable is what a shadow costs: one gate, with and without it.
func shadowTable(ctx context.Context, o *options) (t *table, err error) {
	return t, withScratch(ctx, func(s *scratch) error {
		g, err := startShadowed(s, o)
		if err != nil {
			return err
		}
		t, err = compareShadow(ctx, o, g)
		return err
	})
}

// shadowed is a gate and a candidate that decides as the active policy does.
type shadowed struct {
	server
	candidate string // hash
}

func startShadowed(s *scratch, o *options) (g shadowed, err error) {
	dir := s.TempDir()
	binary, tokens, copied := filepath.Join(dir, "tiergate"), filepath.Join(dir, "tokens"), filepath.Join(dir, "policies")
	o.say("shadow: building tiergate, starting PostgreSQL and the gate")
	if err := build(s.ctx, "..", "./cmd/tiergate", binary); err != nil {
		return g, err
	}
	if err := os.CopyFS(copied, os.DirFS("../policies")); err != nil {
		return g, err
	}
	if err := os.WriteFile(filepath.Join(copied, ".manifest"), []byte(`{"revision": "99.0.0", "roots": ["gate"]}`), 0o600); err != nil {
		return g, err
	}
	archive := filepath.Join(dir, "candidate.tar.gz")
	if err := runQuiet(s.ctx, binary, "bundle", "build", "-o", archive, copied); err != nil {
		return g, err
	}
	line := fmt.Sprintf("%x bench * agent,operator,auditor,policy_admin\n", sha256.Sum256([]byte(token)))
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		return g, err
	}
	g.name = "tiergate"
	if g.addr, err = freeAddr(); err != nil {
		return g, err
	}
	if err := startServer(s, "http://"+g.addr+"/readyz", false, binary, "serve", "--addr", g.addr,
		"--database-url", storetest.Postgres(s), "--tokens", tokens); err != nil {
		return g, err
	}
	configs, requests, err := tenants(corpus())
	if err != nil {
		return g, err
	}
	g.requests = requests
	for name, c := range configs {
		if err := c.apply(g.addr, name); err != nil {
			return g, err
		}
	}
	g.candidate, err = upload(g.addr, archive)
	return g, err
}

func upload(addr, archive string) (hash string, err error) {
	content, err := os.ReadFile(archive)
	if err != nil {
		return "", err
	}
	var b struct {
		BundleHash string `json:"bundle_hash"`
	}
	err = bundleRequest(addr, http.MethodPost, "?reason=bench", "application/gzip", content, &b)
	return b.BundleHash, err
}

// bundleRequest makes a request below /bundles and reads the answer into to.
func bundleRequest(addr, method, path, kind string, body []byte, to any) error {
	req, err := http.NewRequest(method, "http://"+addr+apiBase+"/bundles"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s /bundles%s: %s: %s", method, path, resp.Status, text)
	case to == nil:
		return nil
	}
	return json.Unmarshal(text, to)
}

// turn starts the shadow or ends it and returns what it saw.
func (g shadowed) turn(on bool) (share, diverged float64, err error) {
	if on {
		return 0, 0, bundleRequest(g.addr, http.MethodPost, "/"+g.candidate+"/shadow", "application/json", []byte(`{"reason":"bench"}`), nil)
	}
	var r struct {
		Share    float64 `json:"evaluated_share"`
		Diverged float64
	}
	if err := bundleRequest(g.addr, http.MethodGet, "/"+g.candidate+"/shadow", "application/json", nil, &r); err != nil {
		return 0, 0, err
	}
	return r.Share, r.Diverged, bundleRequest(g.addr, http.MethodDelete, "/"+g.candidate+"/shadow?reason=bench", "application/json", nil, nil)
}

func compareShadow(ctx context.Context, o *options, g shadowed) (*table, error) {
	t := &table{
		title:  "Shadow: answers per second with a candidate that decides beside the active policy",
		header: []string{"connections", "without", "p99", "with", "p99", "with / without", "judged"},
	}
	if _, err := drive(ctx, g.addr, g.requests, 64, o.benchtime); err != nil {
		return nil, err
	}
	worst := 1.0
	for _, conns := range []int{16, 64, 256} {
		var loads [2][]load
		var ratios, shares []float64
		for round := range shadowRounds {
			for turn := range 2 {
				on := (round+turn)%2 == 1
				o.say("shadow: %d connections, round %d of %d, shadow %v", conns, round+1, shadowRounds, on)
				if on {
					if _, _, err := g.turn(true); err != nil {
						return nil, err
					}
				}
				l, err := drive(ctx, g.addr, g.requests, conns, o.benchtime*2)
				if err != nil {
					return nil, err
				}
				side := 0
				if on {
					side = 1
					share, diverged, err := g.turn(false)
					if err != nil {
						return nil, err
					}
					if diverged > 0 {
						return nil, fmt.Errorf("%v decisions of the same policy diverged", diverged)
					}
					shares = append(shares, share)
				}
				loads[side] = append(loads[side], l)
			}
			ratios = append(ratios, loads[1][round].rate/loads[0][round].rate)
		}
		ratio := median(ratios)
		worst = min(worst, ratio)
		without, with := medianLoad(loads[0]), medianLoad(loads[1])
		t.add(fmt.Sprint(conns), perSecond(without.rate), millis(without.p99), perSecond(with.rate), millis(with.p99), fmt.Sprintf("%.3f", ratio), fmt.Sprintf("%.0f%%", 100*median(shares)))
	}
	t.goal(worst >= 0.95, "a shadow costs %.1f%% of the answers per second at most (goal: less than 5%%)", 100*(1-worst))
	t.note("%s", strings.Join([]string{
		"One `tiergate serve` on PostgreSQL, with the shadow on and off in turns; the median of the " + fmt.Sprint(shadowRounds) + " ratios counts.",
		"Judged is the share of decisions that the shadow has evaluated; the others it skipped to stay within its share of the machine.",
	}, " "))
	return t, nil
}
