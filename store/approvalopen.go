package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// A row that says queued_approval opens an approval or joins the one that is
// open for the same action. That happens in the append's own transaction, under
// the tenant's head, which every step of an approval locks, too: so between
// findOpen and insert no approval of the tenant comes or goes, and the unique
// index on open ones never has anything to refuse.
//
// A batch without such rows pays nothing. One with them pays one look-up; an
// insert only for actions that nobody has asked for yet, or that another person
// asks for: 100,000 identical asks are one approval with one event.

// actionDigest is an action of a tenant; see engine.ActionDigest.
type actionDigest struct {
	tenant string
	digest [32]byte
}

// ask is what an entry wants of approvals.
type ask struct {
	actionDigest
	askers []string
}

// opening is a pending approval and what a batch adds to it.
type opening struct {
	actionDigest
	id      string
	version int64
	expires time.Time
	known   map[string]bool // people who have asked
	first   *engine.Entry   // of one that this batch opens
	events  []openingEvent  // that this batch adds
	told    *engine.Approval
	ended   []any // the event that ends it, where its time has run out
}

type openingEvent struct {
	seq    int64
	kind   string
	person string
	entry  *engine.Entry
	leaf   any // leaf_index
}

// openings are what a batch writes: approvals that it opens, and those that it
// adds people to; and what of all that is to be announced.
type openings struct {
	opened, joined []*opening
	outbox         []outboxRow
}

func (o openings) none() bool { return len(o.opened)+len(o.joined)+len(o.outbox) == 0 }

// all are both, by approval_id.
func (o openings) all() []*opening {
	return slices.SortedFunc(slices.Values(slices.Concat(o.opened, o.joined)), byApproval)
}

// approvals is the part of a batch that is about them.
type approvals struct {
	open    map[actionDigest]*opening
	overdue []*opening // found pending behind their time
	now     time.Time
}

// asksOf finds out which items wait for approval, before anything is locked.
func asksOf(items []*item) (asks []ask) {
	for _, it := range items {
		if it.entry.Decision != engine.QueuedApproval {
			continue
		}
		if it.ask == nil {
			it.ask = &ask{actionDigest{it.entry.TenantID, engine.ActionDigest(&it.entry.Request)}, it.entry.Askers()}
		}
		asks = append(asks, *it.ask)
	}
	return asks
}

// findApprovals looks for the open approvals of what is asked for.
func (w *appendWorker) findApprovals(asks []ask) (approvals, error) {
	a := approvals{now: time.Now().UTC().Truncate(time.Millisecond)}
	if len(asks) == 0 {
		return a, nil
	}
	var err error
	if a.open, err = w.a.findOpen(asks); err != nil {
		return a, err
	}
	for key, o := range a.open {
		if !a.now.Before(o.expires) {
			a.overdue = append(a.overdue, o)
			delete(a.open, key)
		}
	}
	return a, nil
}

// join gives the item's entry its approval and returns the id; "" for an entry
// that waits for none.
func (a *approvals) join(it *item) string {
	if it.ask == nil {
		return ""
	}
	o := a.open[it.ask.actionDigest]
	if o == nil {
		o = openFor(it)
		if a.open == nil {
			a.open = map[actionDigest]*opening{}
		}
		a.open[it.ask.actionDigest] = o
	}
	for _, person := range it.ask.askers {
		if o.known[person] {
			continue
		}
		o.known[person] = true
		o.version++
		kind := engine.EventJoined
		if o.version == 1 {
			kind = engine.EventOpened
		}
		o.events = append(o.events, openingEvent{o.version, kind, person, it.entry, nil})
	}
	return o.id
}

// openFor is a new approval. Its id is made here and not by the database, so that
// rows that are copied in can name it.
func openFor(it *item) *opening {
	e := it.entry
	wait := e.Wait
	if wait <= 0 {
		wait = engine.DefaultWait
	}
	return &opening{
		actionDigest: it.ask.actionDigest, id: uuid.Must(uuid.NewV7()).String(),
		expires: e.DecidedAt.Add(wait), known: map[string]bool{}, first: e,
	}
}

// needed is how many must approve what an entry opens.
func needed(e *engine.Entry) int64 {
	switch {
	case e.Needed > 0:
		return int64(e.Needed)
	case e.BlastRadius == engine.Critical:
		return 2
	}
	return 1
}

// openings lists what is to be written for rows.
func (b *batch) openings() openings {
	list := b.approvals.openings()
	list.outbox = outboxOf(b.rows, list.opened)
	return list
}

func (a *approvals) openings() (list openings) {
	for _, o := range a.open {
		switch {
		case o.first != nil:
			list.opened = append(list.opened, o)
		case len(o.events) > 0:
			list.joined = append(list.joined, o)
		}
	}
	return list
}

// approvalOf is what the asker is told about its approval.
func (a *approvals) approvalOf(it *item) *engine.Approval {
	if it.ask == nil {
		return nil
	}
	o := a.open[it.ask.actionDigest]
	if o.told == nil {
		o.told = &engine.Approval{TenantID: o.tenant, ID: o.id, Status: engine.ApprovalPending, ExpiresAt: o.expires}
	}
	return o.told
}

// approvalColumns and eventColumns of what is opened, with their PostgreSQL types.
var (
	openColumns = []string{"tenant_id", "approval_id", "status", "version", "action_digest", "action_type", "target", "blast_radius",
		"decision_id", "requester", "needed", "opened_at", "expires_at"}
	openTypes = []string{"text", "uuid", "text", "bigint", "bytea", "text", "text", "text",
		"uuid", "text", "smallint", "timestamptz", "timestamptz"}
	openEventColumns = []string{"tenant_id", "approval_id", "seq", "kind", "status", "person", "principal", "at", "decision_id", "config_epoch", "policy_epoch", leafIndex}
	openEventTypes   = []string{"text", "uuid", "bigint", "text", "text", "text", "text", "timestamptz", "uuid", "bigint", "bigint", "bigint"}
)

// values are what openColumns hold for an approval that is opened.
func (o *opening) values() []any {
	e := o.first
	return []any{o.tenant, o.id, string(engine.ApprovalPending), o.version, o.digest[:], e.ActionType, e.Target, e.BlastRadius.String(),
		e.DecisionID, o.events[0].person, needed(e), engine.FormatTime(e.DecidedAt), engine.FormatTime(o.expires)}
}

// eventValues are what openEventColumns hold for one of its events.
func (o *opening) eventValues(ev openingEvent) []any {
	e := ev.entry
	principal := e.Principal
	if principal == "" {
		principal = ev.person
	}
	return []any{o.tenant, o.id, ev.seq, ev.kind, string(engine.ApprovalPending), ev.person, principal,
		engine.FormatTime(e.DecidedAt), e.DecisionID, e.ConfigEpoch, e.PolicyEpoch, ev.leaf}
}

// grow makes the event a leaf.
func (ev *openingEvent) grow(g *growth, o *opening) error {
	values := make([]any, len(audit.ApprovalEvent.Columns))
	for i, v := range o.eventValues(*ev) {
		values[openEventPlaces[i]] = v
	}
	if err := g.add(audit.ApprovalEvent, o.id, ev.seq, values); err != nil {
		return err
	}
	ev.leaf = values[len(values)-1]
	return nil
}

// openEventPlaces are where openEventColumns stand among all columns of events.
var openEventPlaces = func() []int {
	places := make([]int, len(openEventColumns))
	for i, c := range openEventColumns {
		places[i] = slices.Index(audit.ApprovalEvent.Columns, c)
	}
	return places
}()

// expireText ends one approval because of its time.
const expireText = `UPDATE approval SET status = 'expired', version = $3, closed_at = expires_at, closed_by = 'system' WHERE tenant_id = $1 AND approval_id = $2 AND status = 'pending'`

// endedValues are the row of the event that ends an approval because of its time.
func endedValues(o *opening, at time.Time) []any {
	values := make([]any, len(audit.ApprovalEvent.Columns))
	copy(values, []any{o.tenant, o.id, o.version, engine.EventExpired, string(engine.ApprovalExpired), "system", "system", nil, nil, engine.FormatTime(at)})
	return values
}

// expireAll ends approvals whose time has run out.
func expireAll(db executor, overdue []*opening) error {
	for _, o := range overdue {
		if err := db.exec(expireText, o.tenant, o.id, o.version); err != nil {
			return err
		}
		if err := db.exec(insertEvent, o.ended...); err != nil {
			return fmt.Errorf("expire approval %s: %w", o.id, err)
		}
	}
	return nil
}
