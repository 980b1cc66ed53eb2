package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// copyFrom is the number of rows from which COPY beats arrays: it costs three
// more round trips and less per row. At 256 callers arrays alone give 22,000
// rows/s and COPY from here on 36,000 (BenchmarkAppend, 2 cores).
const copyFrom = 64

// pgAppender is an append worker's connection. A batch is five round trips:
// BEGIN with the lock that keeps activations out, heads, action_ids, one
// statement that inserts everything and moves the heads, COMMIT; and one more
// for open approvals where a row waits for one.
type pgAppender struct {
	connTx
	lock, find, open, tiles *sql.Stmt
	inserts                 [2][3]*sql.Stmt // see pgInserts
}

const (
	pgPrepareHeads = `INSERT INTO tenant_head (tenant_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING`
	pgPrepareMonth = `SELECT tiergate_ensure_month($1)`
	// The isolation level is named because the fence needs it: pgLockHeads must
	// see what committed before the lock was given, not before it was asked for.
	// Its "one = 1" lets it take an index: these connections have scans switched
	// off, and the cost of one would start the JIT compiler, 15 ms an append.
	pgBegin       = `BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE policy_head IN ROW SHARE MODE`
	pgLockHeads   = `SELECT tenant_id, ` + headColumns + ` FROM tenant_head WHERE tenant_id = ANY($1::text[]) ORDER BY tenant_id FOR UPDATE`
	pgFindActions = `SELECT a.tenant_id, a.action_id::text, a.log_seq FROM unnest($1::text[], $2::uuid[]) AS want (tenant_id, action_id)
		JOIN remediation_action a ON a.tenant_id = want.tenant_id AND a.action_id = want.action_id`

	// What goes beside the log, from arrays: $1 tenants of rows, $2 their
	// action_ids, $3 log_seqs, $4 decided_ats; $5 tenants whose head moves, $6 and
	// $10..$12 to where; $7..$9 the parameters of those rows that have some;
	// $13..$18 the runs of leaves.
	pgBeside = `act AS (
			INSERT INTO remediation_action (tenant_id, action_id, log_seq, decided_at)
			SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[])),
		par AS (
			INSERT INTO decision_parameters (decision_id, tenant_id, parameters)
			SELECT * FROM unnest($7::uuid[], $8::text[], $9::bytea[])),
		leaves AS (
			INSERT INTO tree_leaf (tenant_id, leaf_index, kind, id, seq, hashes)
			SELECT * FROM unnest($13::text[], $14::bigint[], $15::text[], $16::uuid[], $17::bigint[], $18::bytea[]))
		UPDATE tenant_head h SET log_seq = n.log_seq, tree_size = n.tree_size, tree_edge = n.tree_edge, tree_change = n.tree_change
		FROM unnest($5::text[], $6::bigint[], $10::bigint[], $11::bytea[], $12::bigint[]) AS n (tenant_id, log_seq, tree_size, tree_edge, tree_change)
		WHERE h.tenant_id = n.tenant_id`

	// The tiles of level 0 that a batch completes, once their leaves are there.
	pgTiles = `INSERT INTO tree_tile (tenant_id, level, tile_index, hashes, root)
		SELECT n.tenant_id, 0, n.tile_index, (SELECT string_agg(l.hashes, '' ORDER BY l.leaf_index) FROM tree_leaf l
			WHERE l.tenant_id = n.tenant_id AND l.leaf_index >= n.tile_index * 256 AND l.leaf_index < (n.tile_index + 1) * 256), n.root
		FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS n (tenant_id, tile_index, root)`
)

// headColumns are what lockHeads reads of a head and of the policy.
const headColumns = `log_seq, epoch, tree_size, tree_edge, tree_change,
	(SELECT policy_epoch FROM policy_head WHERE one = 1), (SELECT change_id FROM policy_head WHERE one = 1)`

func scanHead(scan func(...any) error, first ...any) (h head, policy policyAt, err error) {
	var size int64
	var edge []byte
	if err := scan(append(first, &h.seq, &h.epoch, &size, &edge, &h.change, &policy.epoch, &policy.change)...); err != nil {
		return h, policy, err
	}
	if h.tree, err = audit.ParseEdge(size, edge); err != nil {
		err = fmt.Errorf("tenant_head: %w", err)
	}
	return h, policy, err
}

// pgParams writes out parameters that are arrays, behind n others.
func pgParams(n *int, types ...string) string {
	params := make([]string, len(types))
	for i, t := range types {
		*n++
		params[i] = fmt.Sprintf("$%d::%s[]", *n, t)
	}
	return strings.Join(params, ", ")
}

// pgAnnounce is what a batch leaves in the outbox, as a statement before pgBeside
// or pgAll, from the arrays behind their n parameters.
func pgAnnounce(n int) string {
	return `announced AS (
			INSERT INTO announcement_outbox (` + outboxColumns + `) SELECT * FROM unnest(` + pgParams(&n, "text", "bigint", "json") + `)), `
}

// pgOpen is that and what a batch makes of approvals: those that it opens, their
// events and those of approvals that it joins, and the latter's versions.
func pgOpen(n int) string {
	announced := pgAnnounce(n)
	n += 3
	return announced + `opened AS (
			INSERT INTO approval (` + strings.Join(openColumns, ", ") + `) SELECT * FROM unnest(` + pgParams(&n, openTypes...) + `)),
		told AS (
			INSERT INTO approval_event (` + strings.Join(openEventColumns, ", ") + `) SELECT * FROM unnest(` + pgParams(&n, openEventTypes...) + `)),
		joined AS (
			UPDATE approval a SET version = j.version FROM unnest(` + pgParams(&n, "text", "uuid", "bigint") + `) AS j (tenant_id, approval_id, version)
			WHERE a.tenant_id = j.tenant_id AND a.approval_id = j.approval_id), `
}

// pgFindOpen looks up each action by itself: its LIMIT keeps the planner, which
// may have seen the table empty, from walking through all that are open.
const pgFindOpen = `SELECT a.tenant_id, a.action_digest, a.approval_id::text, a.version, a.expires_at, want.person,
			EXISTS (SELECT 1 FROM approval_event e WHERE e.tenant_id = a.tenant_id AND e.approval_id = a.approval_id AND e.person = want.person AND e.kind IN ('opened', 'joined'))
		FROM unnest($1::text[], $2::bytea[], $3::text[]) AS want (tenant_id, action_digest, person)
		CROSS JOIN LATERAL (SELECT * FROM approval WHERE tenant_id = want.tenant_id AND action_digest = want.action_digest AND status = 'pending' LIMIT 1) a`

// pgAll is pgBeside with the log itself before it, from the arrays behind, less
// the columns that $1 to $4 hold already.
var pgAll = "WITH " + pgRows + pgBeside

var pgRows = func() string {
	params, next := make([]string, len(rowColumns)), besideParams+1
	for i, c := range rowColumns {
		if n, ok := besideParam[c]; ok {
			params[i] = fmt.Sprintf("$%d::%s[]", n, rowTypes[i])
			continue
		}
		params[i] = fmt.Sprintf("$%d::%s[]", next, rowTypes[i])
		next++
	}
	return `log AS (
			INSERT INTO remediation_gate_log (` + columnList(audit.Decision) + `)
			SELECT * FROM unnest(` + strings.Join(params, ", ") + `)), `
}()

// besideParams and allParams are how many parameters pgBeside and pgAll take.
const besideParams = 18

var allParams = besideParams + len(rowColumns) - len(besideParam)

// pgInserts are the statements that end an append: with the rows themselves, or
// where COPY has brought them without; and with that nothing, what is to be
// announced, or that and approvals. Each does only what it must: an empty part
// costs, too.
var pgInserts = [2][3]string{
	{pgAll, "WITH " + pgAnnounce(allParams) + pgRows + pgBeside, "WITH " + pgOpen(allParams) + pgRows + pgBeside},
	{"WITH " + pgBeside, "WITH " + pgAnnounce(besideParams) + pgBeside, "WITH " + pgOpen(besideParams) + pgBeside},
}

var besideParam = map[string]int{"tenant_id": 1, "action_id": 2, "log_seq": 3, "decided_at": 4}

func (p *postgres) newAppender() (appender, error) {
	ctx := context.Background()
	conn, err := p.append.Conn(ctx)
	if err != nil {
		return nil, err
	}
	a := &pgAppender{connTx: connTx{conn: conn, text: p.text}}
	for query, stmt := range map[string]**sql.Stmt{
		pgLockHeads: &a.lock, pgFindActions: &a.find, pgFindOpen: &a.open, pgTiles: &a.tiles,
		pgInserts[0][0]: &a.inserts[0][0], pgInserts[0][1]: &a.inserts[0][1], pgInserts[0][2]: &a.inserts[0][2],
		pgInserts[1][0]: &a.inserts[1][0], pgInserts[1][1]: &a.inserts[1][1], pgInserts[1][2]: &a.inserts[1][2],
	} {
		if *stmt, err = conn.PrepareContext(ctx, query); err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

func (a *pgAppender) prepare(tenants []string, months []time.Time) error {
	// Both may run twice without harm, so they need no transaction of ours.
	for _, m := range months {
		if _, err := a.conn.ExecContext(context.Background(), pgPrepareMonth, engine.FormatTime(m)); err != nil {
			return fmt.Errorf("make the log's partition for %s: %w", m.Format("2006-01"), err)
		}
	}
	if len(tenants) == 0 {
		return nil
	}
	_, err := a.conn.ExecContext(context.Background(), pgPrepareHeads, textArray(tenants))
	return err
}

// begin is one round trip. lib/pq's connection is its own driver.Tx.
func (a *pgAppender) begin() error {
	return a.conn.Raw(func(dc any) error {
		a.tx = dc.(driver.Tx)
		_, err := dc.(driver.ExecerContext).ExecContext(context.Background(), pgBegin, nil)
		if err != nil {
			_ = a.tx.Rollback() // the lock was not given in time; or nothing began
		}
		return err
	})
}

func (a *pgAppender) lockHeads(tenants []string) (_ map[string]head, policy policyAt, _ error) {
	rows, err := a.lock.Query(textArray(tenants))
	if err != nil {
		return nil, policy, err
	}
	defer rows.Close()
	heads := make(map[string]head, len(tenants))
	for rows.Next() {
		var tenant string
		var h head
		if h, policy, err = scanHead(rows.Scan, &tenant); err != nil {
			return nil, policy, fmt.Errorf("tenant %s: %w", tenant, err)
		}
		heads[tenant] = h
	}
	return heads, policy, rows.Err()
}

func (a *pgAppender) findActions(keys []actionKey) (map[actionKey]int64, error) {
	var tenants, ids array
	for _, k := range keys {
		tenants.add(k.tenant)
		ids.add(k.id)
	}
	rows, err := a.find.Query(tenants.done(), ids.done())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found map[actionKey]int64
	for rows.Next() {
		var k actionKey
		var seq int64
		if err := rows.Scan(&k.tenant, &k.id, &seq); err != nil {
			return nil, err
		}
		if found == nil {
			found = map[actionKey]int64{}
		}
		found[k] = seq
	}
	return found, rows.Err()
}

func (a *pgAppender) insert(rows []row, trees []*growth, o openings) error {
	for _, g := range trees {
		if err := g.saveGenesis(a); err != nil {
			return err
		}
	}
	all := len(rows) < copyFrom
	if !all {
		if err := a.copy(rows); err != nil {
			return err
		}
	}
	args, more := arrays(rows, trees, all), 0
	switch {
	case o.none():
	case len(o.opened)+len(o.joined) == 0:
		more, args = 1, append(args, outboxArrays(o)...)
	default:
		more, args = 2, append(append(args, outboxArrays(o)...), openArrays(o)...)
	}
	insert := a.inserts[0][more]
	if !all {
		insert = a.inserts[1][more]
	}
	if _, err := insert.Exec(args...); err != nil {
		return err
	}
	return a.saveTiles(trees)
}

// saveTiles is one statement for the lowest level of all trees; the next one
// comes every 65,536 leaves.
func (a *pgAppender) saveTiles(trees []*growth) error {
	var tenants, indexes, roots array
	for _, g := range trees {
		for _, t := range g.tiles {
			if t.Level == 0 {
				tenants.add(g.tenant)
				indexes.add(t.Index)
				roots.add(t.Root[:])
			}
		}
	}
	if len(tenants.b) == 0 {
		return nil
	}
	if _, err := a.tiles.Exec(tenants.done(), indexes.done(), roots.done()); err != nil {
		return err
	}
	for _, g := range trees {
		if err := g.saveTiles(a, 1); err != nil {
			return err
		}
	}
	return nil
}

func (a *pgAppender) findOpen(asks []ask) (map[actionDigest]*opening, error) {
	var tenants, digests, people array
	for _, k := range asks {
		for _, person := range k.askers {
			tenants.add(k.tenant)
			digests.add(k.digest[:])
			people.add(person)
		}
	}
	rows, err := a.open.Query(tenants.done(), digests.done(), people.done())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[actionDigest]*opening{}
	for rows.Next() {
		var o opening
		var digest []byte
		var expires stamp
		var person string
		var known bool
		if err := rows.Scan(&o.tenant, &digest, &o.id, &o.version, &expires, &person, &known); err != nil {
			return nil, err
		}
		copy(o.digest[:], digest)
		if found[o.actionDigest] == nil {
			o.expires, o.known = time.Time(expires), map[string]bool{}
			found[o.actionDigest] = &o
		}
		found[o.actionDigest].known[person] = known
	}
	return found, rows.Err()
}

func (a *pgAppender) copy(rows []row) error {
	stmt, err := a.conn.PrepareContext(context.Background(), `COPY remediation_gate_log (`+columnList(audit.Decision)+`) FROM STDIN`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := stmt.Exec(r.columns...); err != nil {
			stmt.Close()
			return err
		}
	}
	if _, err := stmt.Exec(); err != nil {
		stmt.Close()
		return err
	}
	return stmt.Close()
}
