package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// appender is one worker's connection to the database, with its statements.
// None of its methods is ever cancelled. After an error of any of them the
// worker closes it and opens another, except after a clean rollback.
type appender interface {
	// prepare makes sure, before any transaction, that the tenants have a head
	// and the months a place in the log.
	prepare(tenants []string, months []time.Time) error
	// begin starts the transaction. Until it ends, no activation of a bundle
	// commits: what lockHeads says of the policy stands.
	begin() error
	// lockHeads locks and returns the heads of the tenants (sorted), and where the
	// deployment's policy stands.
	lockHeads(tenants []string) (heads map[string]head, policy policyAt, err error)
	// findActions returns which action_ids were answered before.
	findActions(keys []actionKey) (map[actionKey]int64, error)
	// findOpen returns which actions have an approval that is pending, and
	// which of the people who ask have asked for it before.
	findOpen(asks []ask) (map[actionDigest]*opening, error)
	// insert writes rows (in the order of log_seq per tenant) with their side
	// tables and what they make of approvals, lets the trees grow, and moves the
	// heads.
	insert(rows []row, trees []*growth, o openings) error
	executor
	commit() error
	rollback() error
	close()
}

// head is a tenant's row in tenant_head.
type head struct {
	seq, epoch int64
	tree       audit.Edge
	change     int64 // of the policy, the newest that the tree has
}

// policyAt is how far the deployment's policy has come.
type policyAt struct{ epoch, change int64 }

// actionKey names one answer for ever; id is in the canonical spelling.
type actionKey struct{ tenant, id string }

// row is an entry with its place in the log.
type row struct {
	*engine.Entry
	position
	action   string // the action_id in its canonical spelling
	approval string // the approval_id, "" for none
	columns  []any  // of audit.Decision, when its leaf is made
}

// appendWorker writes batches, one at a time.
type appendWorker struct {
	s      *Store
	a      appender
	months map[time.Time]bool // that exist

	scratch []byte // for the bytes of leaves
}

// appendLoop is the life of one worker: it ends when the queue is closed and
// empty.
func (s *Store) appendLoop() {
	w := &appendWorker{s: s, months: map[time.Time]bool{}}
	defer w.drop()
	for {
		batch := s.queue.take()
		if batch == nil {
			return
		}
		w.write(batch)
	}
}

func (w *appendWorker) drop() {
	if w.a != nil {
		w.a.close()
		w.a = nil
	}
}

// write settles every item. An error before COMMIT wrote nothing, so what may
// pass on a second try gets one: a batch on a fresh connection, a deadlocked
// batch as it is, a batch with a row that the database refuses in halves, until
// the refused row stands alone.
func (w *appendWorker) write(items []*item) {
	started := time.Now()
	for try := 1; ; try++ {
		fresh := w.a == nil
		err := w.attempt(items)
		if err == nil {
			w.s.metrics.batch(len(items), time.Since(started))
			w.s.lastErr.clear()
			return
		}
		kind := w.s.classify(err)
		if kind == failedAll {
			w.drop() // whatever state it is in
		}
		switch {
		case kind == failedRetry && try < 5:
		case kind == failedAll && !fresh && try == 1:
		case kind == failedRow && len(items) > 1:
			half := len(items) / 2
			w.write(items[:half])
			w.write(items[half:])
			return
		default:
			w.s.metrics.failed.Add(float64(len(items)))
			if kind != failedRow {
				w.s.lastErr.set(err)
			}
			w.s.log.Error("the gate log refused a batch: its decisions are not given", "database", w.s.db.where(), "rows", len(items), "error", err)
			for _, it := range items {
				it.finish(engine.AppendResult{Err: fmt.Errorf("%w: %v", engine.ErrUnavailable, err)})
			}
			return
		}
	}
}

// batch is what becomes of the items of one transaction.
type batch struct {
	rows     []row
	written  []*item // parallel to rows
	stale    []*item
	repeated []repeat
	heads    map[string]head
	policy   policyAt
	approvals
	announces bool // it leaves something in the outbox
}

// repeat is an item whose action_id was answered as seq, before or in this batch.
type repeat struct {
	*item
	seq int64
}

// attempt runs one transaction over items. An error says that nothing was
// written and nobody was told; nil, that every item was or will be settled.
func (w *appendWorker) attempt(items []*item) (err error) {
	asks := asksOf(items)
	tenants, months, keys, err := w.gather(items)
	if err != nil {
		return err
	}
	if w.a == nil {
		if w.a, err = w.s.db.newAppender(); err != nil {
			return err
		}
	}
	turn := w.s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	if err := w.ensure(tenants, months); err != nil {
		return err
	}
	if err := w.a.begin(); err != nil {
		return err
	}
	defer func() {
		if err != nil && w.a.rollback() != nil {
			w.drop()
		}
	}()
	b := batch{}
	if b.heads, b.policy, err = w.a.lockHeads(tenants); err != nil {
		return err
	}
	for _, t := range tenants {
		if _, ok := b.heads[t]; !ok { // the database was replaced under us
			w.s.known.Delete(t)
			return retryError{fmt.Errorf("tenant %q has no head", t)}
		}
	}
	found, err := w.findActions(items, keys)
	if err != nil {
		return err
	}
	if b.approvals, err = w.findApprovals(asks); err != nil {
		return err
	}
	moved := b.plan(items, keys, found)
	if len(b.rows) == 0 {
		if w.a.rollback() != nil {
			w.drop()
		}
		w.s.settle(b)
		return nil
	}
	open := b.openings()
	trees, err := w.grow(&b, moved, open)
	if err != nil {
		return err
	}
	if err := expireAll(w.a, b.overdue); err != nil {
		return err
	}
	if err := w.a.insert(b.rows, trees, open); err != nil {
		return err
	}
	b.announces = len(open.outbox) > 0
	if commitErr := w.a.commit(); commitErr != nil {
		// Written or not: unknown, and for the whole batch.
		w.drop()
		w.s.metrics.failed.Add(float64(len(items)))
		w.s.lastErr.set(commitErr)
		w.s.log.Error("a commit of the gate log was not confirmed: its decisions are not given, its rows may exist", "database", w.s.db.where(), "rows", len(b.rows), "error", commitErr)
		for _, it := range items {
			it.finish(engine.AppendResult{Err: fmt.Errorf("%w: commit not confirmed: %v", engine.ErrUnavailable, commitErr)})
		}
		return nil
	}
	w.s.settle(b)
	return nil
}

// findActions looks for the actions that were asked about before. An id that
// the gate has just made was not; the primary key would say so, too.
func (w *appendWorker) findActions(items []*item, keys []actionKey) (map[actionKey]int64, error) {
	named := make([]actionKey, 0, len(keys))
	for i, it := range items {
		if !it.entry.FreshActionID {
			named = append(named, keys[i])
		}
	}
	if len(named) == 0 {
		return nil, nil
	}
	return w.a.findActions(named)
}

// gather lists the tenants (sorted), months and action keys of a batch.
func (w *appendWorker) gather(items []*item) (tenants []string, months []time.Time, keys []actionKey, err error) {
	keys = make([]actionKey, len(items))
	seen := map[string]bool{}
	for i, it := range items {
		e := it.entry
		if !seen[e.TenantID] {
			seen[e.TenantID] = true
			tenants = append(tenants, e.TenantID)
		}
		id, err := uuid.Parse(e.ActionID)
		if err != nil {
			return nil, nil, nil, rowError{fmt.Errorf("action_id %q: %w", e.ActionID, err)}
		}
		keys[i] = actionKey{e.TenantID, id.String()}
		at := e.DecidedAt.UTC()
		month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		if !w.months[month] && !slices.Contains(months, month) {
			months = append(months, month)
		}
	}
	slices.Sort(tenants)
	return tenants, months, keys, nil
}

func (w *appendWorker) ensure(tenants []string, months []time.Time) error {
	var unknown []string
	for _, t := range tenants {
		if _, ok := w.s.known.Load(t); !ok {
			unknown = append(unknown, t)
		}
	}
	if len(unknown)+len(months) == 0 {
		return nil
	}
	if err := w.a.prepare(unknown, months); err != nil {
		return err
	}
	for _, t := range unknown {
		w.s.known.Store(t, struct{}{})
	}
	for _, m := range months {
		w.months[m] = true
	}
	return nil
}

// plan sorts the items into what is written, what is stale and what was
// answered before, gives out log_seq, and returns where the heads move.
func (b *batch) plan(items []*item, keys []actionKey, found map[actionKey]int64) map[string]int64 {
	moved := map[string]int64{}
	here := make(map[actionKey]int64, len(items))
	for i, it := range items {
		key, h := keys[i], b.heads[keys[i].tenant]
		if seq, ok := found[key]; ok {
			b.repeated = append(b.repeated, repeat{it, seq})
			continue
		}
		if fence && (it.entry.ConfigEpoch != h.epoch || it.entry.PolicyEpoch != b.policy.epoch) {
			b.stale = append(b.stale, it)
			continue
		}
		if seq, ok := here[key]; ok {
			b.repeated = append(b.repeated, repeat{it, seq})
			continue
		}
		seq, ok := moved[key.tenant]
		if !ok {
			seq = h.seq
		}
		seq++
		moved[key.tenant], here[key] = seq, seq
		b.rows = append(b.rows, row{Entry: it.entry, action: key.id, position: position{seq: seq}, approval: b.join(it)})
		b.written = append(b.written, it)
	}
	return moved
}

// settle tells everybody, after the commit. What takes another look at the
// database is told by a goroutine, so that the worker goes on.
func (s *Store) settle(b batch) {
	for i, it := range b.written {
		it.tell(engine.AppendResult{Epoch: b.heads[it.entry.TenantID].epoch, PolicyEpoch: b.policy.epoch, Approval: b.approvalOf(it)}, b.rows[i].position)
	}
	for _, o := range b.overdue {
		s.hub.news(o.tenant, o.id)
	}
	if b.announces {
		s.outboxNews()
	}
	if len(b.stale)+len(b.repeated) == 0 {
		return
	}
	s.workers.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.settleStale(ctx, b)
		for _, r := range b.repeated {
			tenant := r.entry.TenantID
			result := engine.AppendResult{Repeated: true, Epoch: b.heads[tenant].epoch, PolicyEpoch: b.policy.epoch}
			if result.Entry, result.Err = s.repeatedEntry(ctx, tenant, r.seq); result.Err != nil {
				result = engine.AppendResult{Err: fmt.Errorf("%w: read the stored answer: %v", engine.ErrUnavailable, result.Err)}
			}
			r.finish(result)
		}
	})
}

// settleStale brings the view up to date before it sends anybody back to it.
// Taking over another bundle is the business of whoever listens to PolicyNews.
func (s *Store) settleStale(ctx context.Context, b batch) {
	caught := map[string]error{}
	for _, it := range b.stale {
		tenant := it.entry.TenantID
		if it.entry.PolicyEpoch != b.policy.epoch {
			s.policyNews()
			it.finish(engine.AppendResult{Err: engine.ErrStalePolicy, Epoch: b.heads[tenant].epoch, PolicyEpoch: b.policy.epoch})
			continue
		}
		err, done := caught[tenant]
		if !done {
			err = s.catchUpTenant(ctx, tenant)
			caught[tenant] = err
		}
		if err != nil {
			it.finish(engine.AppendResult{Err: fmt.Errorf("%w: the configuration changed and cannot be read: %v", engine.ErrUnavailable, err)})
			continue
		}
		it.finish(engine.AppendResult{Err: engine.ErrStaleEpoch, Epoch: b.heads[tenant].epoch})
	}
}

// Errors that this package finds before the database would.
type (
	rowError   struct{ error }
	retryError struct{ error }
)

func (s *Store) classify(err error) failure {
	if _, ok := errors.AsType[rowError](err); ok {
		return failedRow
	}
	if _, ok := errors.AsType[retryError](err); ok {
		return failedRetry
	}
	return s.db.classify(err)
}
