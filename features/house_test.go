package features

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cucumber/godog"
	_ "github.com/lib/pq"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/policies"
	"github.com/tiergate/tiergate/store/storetest"
)

// house is what all scenarios share: one gate on one database, and a second
// pair whose database may be stopped.
type house struct {
	t      *testing.T
	gate   *binarytest.Gate
	db     *sql.DB
	titles map[string]string // title of a rule → its id, from the METADATA
	hash   string            // of the shipped bundle
	count  int               // of scenarios, so that each has tenants of its own
	attach bool              // what each step left in the gate log, to the results

	frailCluster *storetest.Cluster // started by the first scenario that needs it
	frailGate    *binarytest.Gate
	frailDB      *sql.DB
}

const (
	agentToken    = "features-agent"
	operatorToken = "features-operator"
	adminToken    = "features-admin"
)

func openHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, titles: map[string]string{}}
	url := storetest.Postgres(t)
	h.gate = h.serve(url)
	h.db = openDB(t, url)
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		t.Fatal(err)
	}
	h.hash = b.Hash
	for _, m := range b.Modules {
		for _, a := range m.Annotations {
			if id, ok := a.Custom["rule"].(string); ok {
				h.titles[a.Title] = id
			}
		}
	}
	return h
}

func (h *house) serve(url string) *binarytest.Gate {
	tokens := append([]string{agentToken + " soar * agent", operatorToken + " olga * operator,auditor", adminToken + " paula * policy_admin"}, peoplesTokens...)
	return binarytest.Serve(h.t, "--database-url", url, "--tokens", binarytest.Tokens(h.t, tokens...), "--announce-allow", "127.0.0.0/8")
}

func openDB(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// frail returns the gate whose database may be stopped.
func (h *house) frail() (*storetest.Cluster, *binarytest.Gate, *sql.DB) {
	if h.frailCluster == nil {
		h.frailCluster = storetest.NewCluster(h.t)
		url := h.frailCluster.Database(h.t)
		h.frailGate, h.frailDB = h.serve(url), openDB(h.t, url)
	}
	return h.frailCluster, h.frailGate, h.frailDB
}

func (h *house) scenario(sc *godog.ScenarioContext) {
	h.count++
	w := &world{house: h, gate: h.gate, db: h.db, number: h.count, tenant: "default"}
	w.steps(sc)
	w.policySteps(sc)
	w.approvalSteps(sc)
	w.announcementSteps(sc)
	if h.attach {
		sc.StepContext().After(w.attachDecisions)
	}
	sc.After(func(ctx context.Context, s *godog.Scenario, err error) (context.Context, error) {
		if err == nil && (!w.outcomeSeen || (!w.logSeen && !w.noDecision)) {
			return ctx, errors.New("the scenario asserts no outcome, or not that the gate log shows it")
		}
		return ctx, err
	})
}

// name gives each scenario tenants of its own: "acme" becomes "acme.7".
func (w *world) name(tenant string) string {
	return fmt.Sprintf("%s.%d", strings.ToLower(tenant), w.number)
}
