package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

const (
	logRounds = 3
	copyRows  = 20_000 // in one COPY
)

// logCase is one figure of the log table: rows per second, on a database of
// its own in each round.
type logCase struct {
	name, database, tenants, callers string
	measure                          func(s *scratch, d time.Duration) (float64, error)
	rates                            []float64
}

func (c *logCase) rate() float64 { return median(c.rates) }

func logTable(ctx context.Context, o *options) (*table, error) {
	var cases []*logCase
	for _, database := range []string{"PostgreSQL", "SQLite"} {
		for _, tenants := range []int{1, 1000} {
			for _, callers := range []int{1, 64, 256} {
				cases = append(cases, &logCase{name: "append", database: database, tenants: strconv.Itoa(tenants), callers: strconv.Itoa(callers),
					measure: func(s *scratch, d time.Duration) (float64, error) {
						return appendRate(s, database, tenants, callers, d)
					}})
			}
		}
	}
	insert := &logCase{"INSERT and commit for each", "PostgreSQL", "1", "64", insertRate, nil}
	copying := &logCase{"COPY of 20,000 rows", "PostgreSQL", "1", "1", copyRate, nil}
	cases = append(cases, insert, copying)
	for round := range logRounds {
		for _, c := range cases {
			o.say("log: round %d of %d, %s on %s, %s tenants, %s callers", round+1, logRounds, c.name, c.database, c.tenants, c.callers)
			err := withScratch(ctx, func(s *scratch) error {
				rate, err := c.measure(s, o.benchtime)
				c.rates = append(c.rates, rate)
				return err
			})
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", c.name, c.database, err)
			}
		}
	}
	best := copying.rate()
	t := &table{title: "Log: durable rows per second", header: []string{"", "database", "tenants", "callers", "rows", "/ COPY"}}
	for _, c := range cases {
		t.add(c.name, c.database, c.tenants, c.callers, perSecond(c.rate()), fmt.Sprintf("%.2f", c.rate()/best))
	}
	for _, c := range cases {
		if c.name == "append" && c.database == "PostgreSQL" && c.callers == "256" {
			t.goal(c.rate() >= best/3, "%.2f of the COPY rate at 256 callers, %s tenants (goal: at least 0.33)", c.rate()/best, c.tenants)
		}
	}
	t.note("append: store.Append, one row a call; a caller makes its next row when the last is durable. It also keeps action_id unique and log_seq gapless, and checks the epoch. The action_ids are the gate's own; one that the caller brings is looked up first.")
	t.note("INSERT and COPY write the log's table alone, as its owner, with none of these checks. COPY counts the time in COPY and its commit only, not the making of rows.")
	return t, nil
}

// appendRate measures Append by callers that each wait for their row.
func appendRate(s *scratch, database string, tenants, callers int, d time.Duration) (float64, error) {
	var url string
	if database == "SQLite" {
		url = storetest.SQLite(s)
	} else {
		url = storetest.Postgres(s)
	}
	gate := storetest.Open(s, url)
	return rate(callers, d, func(n int64) error {
		e := storetest.Entry("tenant-"+strconv.FormatInt(n%int64(tenants), 10), 0)
		// As the gate does for a request without an action_id of its own.
		e.ActionID, e.FreshActionID = uuid.Must(uuid.NewV7()).String(), true
		return gate.Append(s.ctx, []*engine.Entry{e})[0].Err
	})
}

// rate runs one from callers at once, over and over, and counts what ended
// within d, after a warm-up.
func rate(callers int, d time.Duration, one func(n int64) error) (float64, error) {
	var next, ended atomic.Int64
	from := time.Now().Add(warmUp)
	until := from.Add(d)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for errs[i] == nil && time.Now().Before(until) {
				errs[i] = one(next.Add(1))
				if now := time.Now(); now.After(from) && now.Before(until) {
					ended.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(ended.Load()) / d.Seconds(), errors.Join(errs...)
}

// logDatabase is a fresh database with the gate's tables, opened as its owner.
func logDatabase(s *scratch, conns int) (*sql.DB, error) {
	url := storetest.Postgres(s)
	if err := store.Migrate(s.ctx, url); err != nil {
		return nil, err
	}
	db := storetest.DB(s, url)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	_, err := db.Exec(`SELECT tiergate_ensure_month(now())`)
	return db, err
}

// The columns that an entry of storetest fills.
var rowColumns = []string{
	"tenant_id", "log_seq", "decision_id", "action_id", "action_type", "target", "blast_radius", "maturity_tier",
	"decision", "rule", "rationale", "overrides_applied", "rollback", "actor", "principal", "incident_id", "input",
	"policy_revision", "bundle_hash", "engine_version", "config_epoch", "decided_at", "request_digest",
	"policy_epoch", "approval_id", "leaf_index",
}

func rowValues(seq int64) []any {
	e := storetest.Entry("tenant-0", 0)
	return []any{
		e.TenantID, seq, e.DecisionID, e.ActionID, e.ActionType, e.Target, e.BlastRadius.String(), e.MaturityTier,
		e.Decision.String(), e.Rule, e.Rationale, "[]", e.Rollback, e.Actor, e.Principal, e.IncidentID, e.Input,
		e.Policy.Revision, e.Policy.BundleHash, e.EngineVersion, e.ConfigEpoch, e.DecidedAt, e.Digest[:],
		0, e.DecisionID, seq,
	}
}

func insertRate(s *scratch, d time.Duration) (float64, error) {
	const callers = 64
	db, err := logDatabase(s, callers)
	if err != nil {
		return 0, err
	}
	params := make([]string, len(rowColumns))
	for i := range params {
		params[i] = "$" + strconv.Itoa(i+1)
	}
	stmt, err := db.Prepare(`INSERT INTO remediation_gate_log (` + strings.Join(rowColumns, ", ") + `) VALUES (` + strings.Join(params, ", ") + `)`)
	if err != nil {
		return 0, err
	}
	defer stmt.Close()
	return rate(callers, d, func(n int64) error {
		_, err := stmt.ExecContext(s.ctx, rowValues(n)...)
		return err
	})
}

// copyRate measures COPY of ever new rows by one connection; two are no
// faster. Making the rows is not part of it.
func copyRate(s *scratch, d time.Duration) (float64, error) {
	db, err := logDatabase(s, 1)
	if err != nil {
		return 0, err
	}
	var copying time.Duration
	rows, seq := 0, int64(0)
	for batch := 0; copying < d; batch++ {
		values := make([][]any, copyRows)
		for i := range values {
			seq++
			values[i] = rowValues(seq)
		}
		start := time.Now()
		if err := copyBatch(s.ctx, db, values); err != nil {
			return 0, err
		}
		if batch > 0 { // the first finds an empty table
			copying += time.Since(start)
			rows += copyRows
		}
	}
	return float64(rows) / copying.Seconds(), nil
}

func copyBatch(ctx context.Context, db *sql.DB, rows [][]any) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	stmt, err := tx.PrepareContext(ctx, `COPY remediation_gate_log (`+strings.Join(rowColumns, ", ")+`) FROM STDIN`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := stmt.ExecContext(ctx, r...); err != nil {
			return err
		}
	}
	if _, err := stmt.ExecContext(ctx); err != nil {
		return err
	}
	if err := stmt.Close(); err != nil {
		return err
	}
	return tx.Commit()
}
