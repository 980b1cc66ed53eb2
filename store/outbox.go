package store

import (
	"encoding/json"

	"github.com/tiergate/tiergate/engine"
)

// What a decision wants announced is left in announcement_outbox by the
// decision's own transaction: there is no decision without it, and none of it
// without a decision. All that a tenant has in one batch is one row, so that an
// append pays for a batch and not for each decision. Who makes announcements of
// it, and sends them, does so later and in transactions of its own (expand.go,
// announcement.go).

const outboxColumns = `tenant_id, log_seq, items`

// outboxRow is what a batch leaves for one tenant.
type outboxRow struct {
	tenant string
	seq    int64  // of the first row that it is about
	items  string // a JSON array of outboxItem
}

// outboxItem is one decision that is to be announced: to what the whitelist
// entry that let it go names, or, with an approval, to whoever is told of those.
type outboxItem struct {
	DecisionID string   `json:"decision_id"`
	Notify     []string `json:"notify,omitempty"`
	ApprovalID string   `json:"approval_id,omitempty"`
}

// outboxOf is what rows, and the approvals that they open, leave behind.
func outboxOf(rows []row, opened []*opening) []outboxRow {
	var tenants []string // in the order of their first row
	items, first := map[string][]outboxItem{}, map[string]int64{}
	add := func(tenant string, seq int64, it outboxItem) {
		if items[tenant] == nil {
			tenants = append(tenants, tenant)
			first[tenant] = seq
		}
		items[tenant] = append(items[tenant], it)
	}
	openedBy := make(map[*engine.Entry]string, len(opened))
	for _, o := range opened {
		openedBy[o.first] = o.id
	}
	for i := range rows {
		r := &rows[i]
		if len(r.Notify) > 0 {
			add(r.TenantID, r.seq, outboxItem{DecisionID: r.DecisionID, Notify: r.Notify})
		}
		if id, ok := openedBy[r.Entry]; ok {
			add(r.TenantID, r.seq, outboxItem{DecisionID: r.DecisionID, ApprovalID: id})
		}
	}
	list := make([]outboxRow, 0, len(tenants))
	for _, t := range tenants {
		list = append(list, outboxRow{t, first[t], itemsJSON(items[t])})
	}
	return list
}

func itemsJSON(items []outboxItem) string {
	b, err := json.Marshal(items)
	if err != nil { // strings always marshal
		panic(err)
	}
	return string(b)
}

// leaveInOutbox does the same for a decision that was made again.
func (c *stepper) leaveInOutbox(e *engine.Entry) (left bool, err error) {
	if len(e.Notify) == 0 {
		return false, nil
	}
	items := itemsJSON([]outboxItem{{DecisionID: e.DecisionID, Notify: e.Notify}})
	return true, c.exec(`INSERT INTO announcement_outbox (`+outboxColumns+`) VALUES ($1, $2, $3)`, c.tenant, c.seq, items)
}

// OutboxNews gets a value when a decision made here left something in the
// outbox. It holds one.
func (s *Store) OutboxNews() <-chan struct{} { return s.outbox }

func (s *Store) outboxNews() {
	select {
	case s.outbox <- struct{}{}:
	default:
	}
}
