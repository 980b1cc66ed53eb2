package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// liteAppender is the append worker's connection. SQLite runs in this process,
// so there are no round trips to save: it works row by row.
type liteAppender struct {
	connTx

	prepareHead, lockHead, findAction, insertRow, insertAction, insertParameters, moveHead *sql.Stmt
}

func (s *sqliteDB) newAppender() (appender, error) {
	ctx := context.Background()
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return nil, err
	}
	a := &liteAppender{connTx: connTx{conn: conn}}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(logColumns)), ", ")
	for query, stmt := range map[string]**sql.Stmt{
		`INSERT INTO tenant_head (tenant_id) VALUES (?) ON CONFLICT DO NOTHING`:                              &a.prepareHead,
		`SELECT log_seq, epoch, (SELECT policy_epoch FROM policy_head) FROM tenant_head WHERE tenant_id = ?`: &a.lockHead,
		`SELECT log_seq FROM remediation_action WHERE tenant_id = ? AND action_id = ?`:                       &a.findAction,
		`INSERT INTO remediation_gate_log (` + logColumnList + `) VALUES (` + marks + `)`:                    &a.insertRow,
		`INSERT INTO remediation_action (tenant_id, action_id, log_seq, decided_at) VALUES (?, ?, ?, ?)`:     &a.insertAction,
		`INSERT INTO decision_parameters (decision_id, tenant_id, parameters) VALUES (?, ?, ?)`:              &a.insertParameters,
		`UPDATE tenant_head SET log_seq = ? WHERE tenant_id = ?`:                                             &a.moveHead,
	} {
		if *stmt, err = conn.PrepareContext(ctx, query); err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

func (a *liteAppender) prepare(tenants []string, _ []time.Time) error {
	for _, t := range tenants {
		if _, err := a.prepareHead.Exec(t); err != nil {
			return err
		}
	}
	return nil
}

// lockHeads only reads: this transaction is the one that writes.
func (a *liteAppender) lockHeads(tenants []string) (heads map[string]head, policyEpoch int64, err error) {
	heads = make(map[string]head, len(tenants))
	for _, t := range tenants {
		var h head
		switch err := a.lockHead.QueryRow(t).Scan(&h.seq, &h.epoch, &policyEpoch); err {
		case nil:
			heads[t] = h
		case sql.ErrNoRows:
		default:
			return nil, 0, err
		}
	}
	return heads, policyEpoch, nil
}

func (a *liteAppender) findActions(keys []actionKey) (map[actionKey]int64, error) {
	var found map[actionKey]int64
	for _, k := range keys {
		var seq int64
		switch err := a.findAction.QueryRow(k.tenant, k.id).Scan(&seq); err {
		case nil:
			if found == nil {
				found = map[actionKey]int64{}
			}
			found[k] = seq
		case sql.ErrNoRows:
		default:
			return nil, err
		}
	}
	return found, nil
}

func (a *liteAppender) insert(rows []row, heads map[string]int64) error {
	for _, r := range rows {
		if _, err := a.insertRow.Exec(r.values()...); err != nil {
			return err
		}
		if _, err := a.insertAction.Exec(r.TenantID, r.action, r.seq, engine.FormatTime(r.DecidedAt)); err != nil {
			return err
		}
		if r.Parameters != nil {
			if _, err := a.insertParameters.Exec(r.DecisionID, r.TenantID, r.Parameters); err != nil {
				return err
			}
		}
	}
	for t, seq := range heads {
		if _, err := a.moveHead.Exec(seq, t); err != nil {
			return err
		}
	}
	return nil
}
