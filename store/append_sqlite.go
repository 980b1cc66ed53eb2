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

	prepareHead, lockHead, findAction, insertRow, insertAction, insertParameters, insertLeaf, moveHead *sql.Stmt
	findApproval, hasAsked, openApproval, addEvent, moveApproval, leaveInOutbox                        *sql.Stmt
}

func (s *sqliteDB) newAppender() (appender, error) {
	ctx := context.Background()
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return nil, err
	}
	a := &liteAppender{connTx: connTx{conn: conn, text: s.text}}
	marks := func(columns []string) string {
		return strings.Join(columns, ", ") + `) VALUES (` + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + `)`
	}
	for query, stmt := range map[string]**sql.Stmt{
		`INSERT INTO tenant_head (tenant_id) VALUES (?) ON CONFLICT DO NOTHING`:                          &a.prepareHead,
		`SELECT ` + headColumns + ` FROM tenant_head WHERE tenant_id = ?`:                                &a.lockHead,
		`SELECT log_seq FROM remediation_action WHERE tenant_id = ? AND action_id = ?`:                   &a.findAction,
		`INSERT INTO remediation_gate_log (` + marks(rowColumns):                                         &a.insertRow,
		`INSERT INTO remediation_action (tenant_id, action_id, log_seq, decided_at) VALUES (?, ?, ?, ?)`: &a.insertAction,
		`INSERT INTO decision_parameters (decision_id, tenant_id, parameters) VALUES (?, ?, ?)`:          &a.insertParameters,
		s.text(insertLeaf): &a.insertLeaf,
		s.text(moveHead):   &a.moveHead,
		`SELECT approval_id, version, expires_at FROM approval WHERE tenant_id = ? AND action_digest = ? AND status = 'pending'`:      &a.findApproval,
		`SELECT count(*) FROM approval_event WHERE tenant_id = ? AND approval_id = ? AND person = ? AND kind IN ('opened', 'joined')`: &a.hasAsked,
		`INSERT INTO approval (` + marks(openColumns):                              &a.openApproval,
		`INSERT INTO approval_event (` + marks(openEventColumns):                   &a.addEvent,
		`UPDATE approval SET version = ? WHERE tenant_id = ? AND approval_id = ?`:  &a.moveApproval,
		`INSERT INTO announcement_outbox (` + outboxColumns + `) VALUES (?, ?, ?)`: &a.leaveInOutbox,
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
func (a *liteAppender) lockHeads(tenants []string) (heads map[string]head, policy policyAt, err error) {
	heads = make(map[string]head, len(tenants))
	for _, t := range tenants {
		h, at, err := scanHead(a.lockHead.QueryRow(t).Scan)
		switch err {
		case nil:
			heads[t], policy = h, at
		case sql.ErrNoRows:
		default:
			return nil, policy, err
		}
	}
	return heads, policy, nil
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

func (a *liteAppender) findOpen(asks []ask) (map[actionDigest]*opening, error) {
	found := map[actionDigest]*opening{}
	for _, k := range asks {
		o := found[k.actionDigest]
		if o == nil {
			o = &opening{actionDigest: k.actionDigest, known: map[string]bool{}}
			var expires stamp
			switch err := a.findApproval.QueryRow(k.tenant, k.digest[:]).Scan(&o.id, &o.version, &expires); err {
			case nil:
				o.expires = time.Time(expires)
				found[k.actionDigest] = o
			case sql.ErrNoRows:
				continue
			default:
				return nil, err
			}
		}
		for _, person := range k.askers {
			if o.known[person] {
				continue
			}
			var n int
			if err := a.hasAsked.QueryRow(k.tenant, o.id, person).Scan(&n); err != nil {
				return nil, err
			}
			o.known[person] = n > 0
		}
	}
	return found, nil
}

// write makes the batch's openings.
func (a *liteAppender) write(o openings) error {
	for _, n := range o.opened {
		if _, err := a.openApproval.Exec(n.values()...); err != nil {
			return err
		}
	}
	for _, list := range [][]*opening{o.opened, o.joined} {
		for _, n := range list {
			for _, ev := range n.events {
				if _, err := a.addEvent.Exec(n.eventValues(ev)...); err != nil {
					return err
				}
			}
		}
	}
	for _, n := range o.joined {
		if _, err := a.moveApproval.Exec(n.version, n.tenant, n.id); err != nil {
			return err
		}
	}
	for _, r := range o.outbox {
		if _, err := a.leaveInOutbox.Exec(r.tenant, r.seq, r.items); err != nil {
			return err
		}
	}
	return nil
}

func (a *liteAppender) insert(rows []row, trees []*growth, o openings) error {
	if err := a.write(o); err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := a.insertRow.Exec(r.columns...); err != nil {
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
	for _, g := range trees {
		if err := g.saveGenesis(a); err != nil {
			return err
		}
		for _, r := range g.runs {
			if _, err := a.insertLeaf.Exec(g.runValues(r)...); err != nil {
				return err
			}
		}
		if err := g.saveTiles(a, 0); err != nil {
			return err
		}
		if _, err := a.moveHead.Exec(g.headValues()...); err != nil {
			return err
		}
	}
	return nil
}
