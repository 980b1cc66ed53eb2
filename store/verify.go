package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/tiergate/tiergate/audit"
)

// The Reader is where package audit reads evidence from, beside the gate.
var _ audit.Source = (*Reader)(nil)

// EvidenceTenants lists all tenants that have a head, a tree or rows of the gate
// log, in the order of their ids.
func (r *Reader) EvidenceTenants(ctx context.Context) ([]string, error) {
	jump := func(name, table string) string { // from one tenant to the next in an index
		return name + ` (tenant_id) AS (SELECT min(tenant_id) FROM ` + table + ` UNION ALL
			SELECT (SELECT min(x.tenant_id) FROM ` + table + ` x WHERE x.tenant_id > t.tenant_id) FROM ` + name + ` t WHERE t.tenant_id IS NOT NULL)`
	}
	rows, err := r.db.QueryContext(ctx, `WITH RECURSIVE `+jump("rows_of", "remediation_gate_log")+`, `+jump("leaves_of", "tree_leaf")+`
		SELECT tenant_id FROM tenant_head UNION SELECT tenant_id FROM rows_of WHERE tenant_id IS NOT NULL
		UNION SELECT tenant_id FROM leaves_of WHERE tenant_id IS NOT NULL ORDER BY 1`)
	if err != nil {
		return nil, r.cannotRead("the tenants", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, r.cannotRead("the tenants", err)
		}
		list = append(list, t)
	}
	if err := rows.Err(); err != nil {
		return nil, r.cannotRead("the tenants", err)
	}
	return list, nil
}

// Head is audit.Source's.
func (r *Reader) Head(ctx context.Context, tenant string) (h audit.Head, err error) {
	err = r.db.QueryRowContext(ctx, r.text(`SELECT log_seq, epoch, tree_size, tree_edge, tree_change FROM tenant_head WHERE tenant_id = $1`), tenant).
		Scan(&h.LogSeq, &h.Epoch, &h.Size, &h.Edge, &h.Change)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return h, r.cannotRead("a tenant's head", err)
	}
	return h, nil
}

// Runs is audit.Source's.
func (r *Reader) Runs(ctx context.Context, tenant string, from int64, limit int) ([]audit.Run, error) {
	rows, err := r.db.QueryContext(ctx, r.text(`SELECT leaf_index, kind, coalesce(CAST(id AS text), ''), seq, hashes FROM tree_leaf WHERE tenant_id = $1 AND leaf_index >= $2 ORDER BY leaf_index LIMIT $3`), tenant, from, limit)
	if err != nil {
		return nil, r.cannotRead("a tree", err)
	}
	defer rows.Close()
	var list []audit.Run
	for rows.Next() {
		var n audit.Run
		if err := rows.Scan(&n.First, &n.Kind, &n.ID, &n.Seq, &n.Hashes); err != nil {
			return nil, r.cannotRead("a tree", err)
		}
		list = append(list, n)
	}
	if err := rows.Err(); err != nil {
		return nil, r.cannotRead("a tree", err)
	}
	return list, nil
}

// rowsOf says where rows of each kind are: those of the tenant $1, and of the
// id $4 where they have one, from the number $2 to before $3.
var rowsOf = map[*audit.Kind]string{
	audit.Genesis:       ` FROM tree_genesis WHERE tenant_id = $1 AND CAST($2 AS bigint) < CAST($3 AS bigint)`,
	audit.Decision:      `, (SELECT p.parameters FROM decision_parameters p WHERE p.decision_id = l.decision_id) FROM remediation_gate_log l WHERE tenant_id = $1 AND log_seq >= $2 AND log_seq < $3 ORDER BY log_seq`,
	audit.ConfigChange:  ` FROM config_change WHERE tenant_id = $1 AND epoch >= $2 AND epoch < $3 ORDER BY epoch`,
	audit.PolicyChange:  ` FROM policy_change WHERE CAST($1 AS text) IS NOT NULL AND change_id >= $2 AND change_id < $3 ORDER BY change_id`,
	audit.ApprovalEvent: ` FROM approval_event WHERE tenant_id = $1 AND seq >= $2 AND seq < $3 AND approval_id = $4`,
	audit.Outcome:       ` FROM decision_outcome WHERE tenant_id = $1 AND seq >= $2 AND seq < $3 AND decision_id = $4`,
}

// Rows is audit.Source's.
func (r *Reader) Rows(ctx context.Context, tenant string, kind *audit.Kind, id string, from, to int64) ([]audit.Row, error) {
	args := []any{tenant, from, to}
	if kind == audit.ApprovalEvent || kind == audit.Outcome {
		if id == "" {
			return nil, nil
		}
		args = append(args, id)
	}
	rows, err := r.db.QueryContext(ctx, r.text(`SELECT `+columnList(kind)+rowsOf[kind]), args...)
	if err != nil {
		return nil, r.cannotRead("rows of "+kind.Name, err)
	}
	defer rows.Close()
	var list []audit.Row
	for rows.Next() {
		row := audit.Row{Values: make([]any, len(kind.Columns))}
		dest := make([]any, len(kind.Columns), len(kind.Columns)+1)
		for i := range row.Values {
			dest[i] = &row.Values[i]
		}
		if kind == audit.Decision {
			dest = append(dest, &row.Parameters)
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, r.cannotRead("rows of "+kind.Name, err)
		}
		list = append(list, row)
	}
	if err := rows.Err(); err != nil {
		return nil, r.cannotRead("rows of "+kind.Name, err)
	}
	return list, nil
}

// Tile is audit.Source's.
func (r *Reader) Tile(ctx context.Context, tenant string, level int, index int64) (hashes, root []byte, err error) {
	err = r.db.QueryRowContext(ctx, r.text(`SELECT hashes, root FROM tree_tile WHERE tenant_id = $1 AND level = $2 AND tile_index = $3`), tenant, level, index).Scan(&hashes, &root)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, nil, r.cannotRead("a tile", err)
	}
	return hashes, root, nil
}

// Rest is audit.Source's.
func (r *Reader) Rest(ctx context.Context, tenant string, size int64) (rest audit.Rest, err error) {
	count := func(table, what string) string {
		return `(SELECT count(*) FROM ` + table + ` WHERE tenant_id = $1 AND ` + what + `)`
	}
	err = r.db.QueryRowContext(ctx, r.text(`SELECT
		(SELECT coalesce(max(log_seq), 0) FROM remediation_gate_log WHERE tenant_id = $1),
		(SELECT coalesce(max(epoch), 0) FROM config_change WHERE tenant_id = $1),
		(SELECT coalesce(max(i), -1) FROM (SELECT max(leaf_index) AS i FROM tree_leaf WHERE tenant_id = $1 UNION ALL
			SELECT max(leaf_index) FROM approval_event WHERE tenant_id = $1 UNION ALL SELECT max(leaf_index) FROM decision_outcome WHERE tenant_id = $1) x),
		`+count("approval_event", "leaf_index < $2")+`, `+count("decision_outcome", "leaf_index < $2")+`,
		`+count("approval_event", "leaf_index IS NULL")+`, `+count("decision_outcome", "leaf_index IS NULL")), tenant, size).
		Scan(&rest.MaxLogSeq, &rest.MaxEpoch, &rest.MaxLeaf, &rest.Events, &rest.Outcomes, &rest.OldEvents, &rest.OldOutcomes)
	if err != nil {
		return rest, r.cannotRead("what is beside a tree", err)
	}
	return rest, nil
}
