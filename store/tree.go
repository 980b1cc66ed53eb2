package store

import (
	"cmp"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// Each tenant's rows are leaves of the tenant's tree (package audit), added by
// the transaction that writes them, under the lock on the tenant's head, where
// the tree's right edge stands. In one transaction they come in this order:
//
//	the genesis, where the tree is empty
//	the changes of the policy that the tree lacks, by change_id
//	the change of the configuration; or
//	the ends of approvals whose time ran out, by approval_id
//	the decisions, by log_seq
//	the other events of approvals, by approval_id and seq; the outcome
//
// A change of the policy belongs to all tenants, so each tree takes it with its
// tenant's next row, whatever that is: a decision made under it comes later.

// growth is what one transaction adds to one tenant's tree.
type growth struct {
	tenant  string
	head    head // as it stands, and as the transaction leaves it
	began   *genesis
	runs    []run
	tiles   []audit.Tile
	scratch *[]byte
	off     bool // see Options.noTree
}

// run is neighbours in the tree, a row of tree_leaf.
type run struct {
	first  int64 // leaf_index
	kind   *audit.Kind
	id     string
	seq    int64 // of the first
	hashes []byte
}

// position is where a row is in the log and in the tree.
type position struct {
	seq  int64
	leaf engine.Leaf
}

// genesis is a row of tree_genesis.
type genesis struct {
	logSeq, epoch, events, outcomes int64
	at                              string
}

// add makes a row a leaf. values are those of kind.Columns; where the last one is
// leaf_index, add sets it.
func (g *growth) add(kind *audit.Kind, id string, seq int64, values []any) error {
	if g.off {
		return nil
	}
	if kind.Columns[len(kind.Columns)-1] == leafIndex {
		values[len(values)-1] = g.head.tree.Size()
	}
	hash, scratch, err := kind.Hash(*g.scratch, values)
	if err != nil {
		return rowError{fmt.Errorf("tenant %s: %w", g.tenant, err)}
	}
	*g.scratch = scratch
	g.addHash(kind, id, seq, hash)
	return nil
}

const leafIndex = "leaf_index"

func (g *growth) addHash(kind *audit.Kind, id string, seq int64, hash tlog.Hash) {
	at := g.head.tree.Size()
	last := len(g.runs) - 1
	if last < 0 || at%audit.TileWidth == 0 || !g.runs[last].goesOn(kind, id, seq) {
		g.runs = append(g.runs, run{first: at, kind: kind, id: id, seq: seq})
		last++
	}
	g.runs[last].hashes = append(g.runs[last].hashes, hash[:]...)
	g.tiles = g.head.tree.Add(hash, g.tiles)
}

// newest is the leaf that was added last.
func (g *growth) newest() (l engine.Leaf) {
	if len(g.runs) == 0 {
		return l
	}
	hashes := g.runs[len(g.runs)-1].hashes
	l.Index = g.head.tree.Size() - 1
	copy(l.Hash[:], hashes[len(hashes)-tlog.HashSize:])
	return l
}

func (r *run) goesOn(kind *audit.Kind, id string, seq int64) bool {
	return r.kind == kind && r.id == id && r.seq+int64(len(r.hashes)/tlog.HashSize) == seq
}

// policyLeaves are the leaf hashes of the changes of the policy from one on.
type policyLeaves struct {
	after  int64 // change_id before the first
	hashes []tlog.Hash
}

// begin adds what comes before the transaction's own rows.
func (g *growth) begin(db executor, policy policyLeaves, now time.Time) error {
	if g.off {
		return nil
	}
	if g.head.tree.Size() == 0 {
		if err := g.addGenesis(db, now); err != nil {
			return err
		}
	}
	for i, hash := range policy.hashes {
		if id := policy.after + int64(i) + 1; id > g.head.change {
			g.head.change = id
			g.addHash(audit.PolicyChange, "", id, hash)
		}
	}
	return nil
}

func (g *growth) addGenesis(db executor, now time.Time) error {
	n := &genesis{logSeq: g.head.seq, epoch: g.head.epoch, at: engine.FormatTime(now)}
	if n.logSeq > 0 { // otherwise there is nothing that could have events or outcomes
		for table, count := range map[string]*int64{"approval_event": &n.events, "decision_outcome": &n.outcomes} {
			if err := db.row(`SELECT count(*) FROM `+table+` WHERE tenant_id = $1`, g.tenant).Scan(count); err != nil {
				return fmt.Errorf("count what is older than the tree of tenant %s: %w", g.tenant, err)
			}
		}
	}
	g.began = n
	return g.add(audit.Genesis, "", 0, n.values(g.tenant))
}

func (n *genesis) values(tenant string) []any {
	return []any{tenant, n.logSeq, n.epoch, n.events, n.outcomes, n.at}
}

// readPolicyLeaves returns the leaves of changes with after < change_id <= through.
func readPolicyLeaves(db executor, after, through int64) (policyLeaves, error) {
	p := policyLeaves{after: after}
	if after >= through {
		return p, nil
	}
	rows, err := db.query(`SELECT `+columnList(audit.PolicyChange)+` FROM policy_change WHERE change_id > $1 AND change_id <= $2 ORDER BY change_id`, after, through)
	if err != nil {
		return p, err
	}
	if p.hashes, err = hashRows(rows, audit.PolicyChange); err != nil {
		return p, fmt.Errorf("the changes of the policy: %w", err)
	}
	if int64(len(p.hashes)) != through-after {
		return p, fmt.Errorf("policy_change has %d rows from %d to %d, and no tree can do without one: restore it from a backup", len(p.hashes), after+1, through)
	}
	return p, nil
}

// hashRows reads rows of the kind's columns and returns their leaf hashes.
func hashRows(rows *sql.Rows, kind *audit.Kind) ([]tlog.Hash, error) {
	defer rows.Close()
	var list []tlog.Hash
	var scratch []byte
	values := make([]any, len(kind.Columns))
	dest := make([]any, len(values))
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		err := rows.Scan(dest...)
		if err != nil {
			return nil, err
		}
		var hash tlog.Hash
		if hash, scratch, err = kind.Hash(scratch, values); err != nil {
			return nil, err
		}
		list = append(list, hash)
	}
	return list, rows.Err()
}

// grow makes leaves of what the batch writes, and says where the heads move.
func (w *appendWorker) grow(b *batch, moved map[string]int64, open openings) ([]*growth, error) {
	trees := make(map[string]*growth, len(moved))
	oldest := b.policy.change
	begin := func(tenant string) {
		if trees[tenant] == nil {
			trees[tenant] = &growth{tenant: tenant, head: b.heads[tenant], scratch: &w.scratch, off: w.s.opts.noTree}
			oldest = min(oldest, b.heads[tenant].change)
		}
	}
	for t := range moved {
		begin(t)
	}
	for _, o := range b.overdue {
		begin(o.tenant)
	}
	list := slices.SortedFunc(maps.Values(trees), func(a, b *growth) int { return cmp.Compare(a.tenant, b.tenant) })
	policy, err := readPolicyLeaves(w.a, oldest, b.policy.change)
	if err != nil {
		return nil, err
	}
	for _, g := range list {
		if err := g.begin(w.a, policy, b.now); err != nil {
			return nil, err
		}
		g.head.seq = max(g.head.seq, moved[g.tenant])
	}
	slices.SortFunc(b.overdue, byApproval)
	for _, o := range b.overdue {
		o.version++
		o.ended = endedValues(o, b.now)
		if err := trees[o.tenant].add(audit.ApprovalEvent, o.id, o.version, o.ended); err != nil {
			return nil, err
		}
	}
	for i := range b.rows {
		r := &b.rows[i]
		r.columns = r.values()
		g := trees[r.TenantID]
		if err := g.add(audit.Decision, "", r.seq, r.columns); err != nil {
			return nil, err
		}
		r.leaf = g.newest()
	}
	for _, o := range open.all() {
		for i := range o.events {
			if err := o.events[i].grow(trees[o.tenant], o); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

func byApproval(a, b *opening) int { return cmp.Compare(a.id, b.id) }
