package replay

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
)

// state is what follows from the leaves so far: which numbers come next, and the
// configuration and policy that a decision must have seen.
type state struct {
	config   *store.Configuration
	snapshot *store.ConfigSnapshot
	broken   string // why the configuration is not known any more; "": it is
	epoch    int64  // of the last change of configuration
	logSeq   int64  // of the last decision; -1: not known

	change int64 // change_id of the last change of the policy; -1: not known
	policy policyHead
}

// policyHead is what the deployment runs.
type policyHead struct {
	epoch  int64 // -1: not known
	active string
	after  string // of the last change, as it is written
}

// seen is what a decision must have been made under.
type seen struct {
	snapshot *store.ConfigSnapshot
	broken   string
	epoch    int64
	logSeq   int64 // -1: not known
	policy   policyHead
}

func (s *state) begin(tenant string) (err error) {
	if s.config, err = store.NewConfiguration(tenant); err != nil {
		return err
	}
	s.snapshot = s.config.Snapshot()
	return nil
}

// next is what the next decision must have been made under.
func (s *state) next(i *evidence.Item) seen {
	want := int64(-1)
	if s.logSeq >= 0 {
		want = s.logSeq + 1
	}
	s.logSeq = audit.Decision.Seq(i.Leaf) // whatever it is: the next ones are held against it
	return seen{s.snapshot, s.broken, s.epoch, want, s.policy}
}

// absent: leaves went by that nobody can look into. Of changes all should be
// there, up to the end of the window: one that is not shows in the numbers of
// the next one, or of the decisions that were made under it.
func (s *state) absent(i *evidence.Item, wanted bool) {
	s.logSeq = -1
	if !wanted {
		return
	}
	s.broken = fmt.Sprintf("leaf %d is not here, and may be a change of configuration or policy", i.First)
	s.change, s.policy.epoch = -1, -1
}

// leafOf checks a row against its leaf and reads it. ok is false where it is not
// worth looking further; the fault is told then.
func (c *checker) leafOf(at *place, i *evidence.Item) (values []any, ok bool) {
	if i.Hashes != nil && recordHash(i.Leaf) != tlog.Hash(i.Hashes) {
		at.seq = max(0, i.Kind.Seq(i.Leaf))
		c.report.Add(at.fault(Tampered, "the row is not as it was written: its leaf has another hash"))
		return nil, false
	}
	values, err := i.Kind.ParseLeaf(i.Leaf)
	if err != nil {
		c.report.Add(at.fault(Tampered, "this was never a row: "+err.Error()))
		return nil, false
	}
	at.seq = integerOf(values, i.Kind, seqColumn[i.Kind])
	if tenant := textOf(values, i.Kind, "tenant_id"); i.Kind != audit.PolicyChange && tenant != c.Tenant {
		c.report.Add(at.fault(Tampered, fmt.Sprintf("it is a row of tenant %.80q", tenant)))
		return nil, false
	}
	if index := i.Kind.Index(i.Leaf); i.Hashes != nil && i.Kind != audit.PolicyChange && index != i.First {
		c.report.Add(at.fault(Tampered, fmt.Sprintf("it was leaf %d", index)))
		return nil, false
	}
	return values, true
}

var seqColumn = map[*audit.Kind]string{audit.Decision: "log_seq", audit.ConfigChange: "epoch", audit.PolicyChange: "change_id", audit.ApprovalEvent: "seq", audit.Outcome: "seq"}

// recordHash is the hash of a leaf, tlog.RecordHash without a copy of its bytes.
func recordHash(leaf []byte) (sum tlog.Hash) {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(leaf)
	h.Sum(sum[:0])
	return sum
}

func (c *checker) genesis(at place, i *evidence.Item) {
	values, ok := c.leafOf(&at, i)
	if !ok {
		c.state.logSeq, c.state.broken = -1, "the genesis cannot be read"
		return
	}
	number := func(name string) int64 { return integerOf(values, audit.Genesis, name) }
	if number("log_seq")+number("epoch")+number("approval_events")+number("outcomes") > 0 {
		c.report.Add(at.fault(Incomplete, fmt.Sprintf("the tree began when the tenant had %d decisions, %d changes of configuration, %d events of approvals and %d outcomes: nothing vouches for them",
			number("log_seq"), number("epoch"), number("approval_events"), number("outcomes"))))
	}
	if number("epoch") != c.state.epoch && c.state.broken == "" {
		c.report.Add(at.fault(Incomplete, fmt.Sprintf("the configuration was changed %d times before the tree, and %d of the changes are here", number("epoch"), c.state.epoch)))
		c.state.broken, c.state.epoch = "not all changes from before the tree are here", number("epoch")
	}
	c.state.logSeq = number("log_seq")
}

// change makes a change of configuration.
func (c *checker) change(at place, i *evidence.Item) {
	s := &c.state
	s.epoch++
	values, ok := c.leafOf(&at, i)
	if !ok {
		s.broken = fmt.Sprintf("change %d of the configuration is not as it was written", s.epoch)
		return
	}
	epoch := integerOf(values, audit.ConfigChange, "epoch")
	if epoch != s.epoch && s.broken == "" {
		c.report.Add(at.fault(Tampered, fmt.Sprintf("epoch %d was to be next", s.epoch)))
		s.broken = fmt.Sprintf("change %d of the configuration is not in its place", s.epoch)
	}
	s.epoch = epoch
	if s.broken != "" {
		return
	}
	err := safely(func() error { return s.config.Apply(ChangeOf(values)) })
	if err != nil {
		c.report.Add(at.fault(Tampered, "it is no change that a gate has made: "+err.Error()))
		s.broken = fmt.Sprintf("change %d of the configuration cannot be made", epoch)
		return
	}
	s.snapshot = s.config.Snapshot()
}

// ChangeOf is the change of configuration whose leaf has these values.
func ChangeOf(values []any) engine.Change {
	text := func(name string) string { return textOf(values, audit.ConfigChange, name) }
	at, _ := engine.ParseTime(text("at"))
	return engine.Change{TenantID: text("tenant_id"), Epoch: integerOf(values, audit.ConfigChange, "epoch"), Kind: text("kind"),
		Before: []byte(text("before")), After: []byte(text("after")), Actor: text("actor"), Reason: text("reason"), At: at}
}

// safely turns a panic into an error: what a hostile file holds is no reason to end.
func safely(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be read: %v", r)
		}
	}()
	return do()
}

// policyChange makes a change of what the deployment runs.
func (c *checker) policyChange(at place, i *evidence.Item) {
	s := &c.state
	if s.change >= 0 {
		s.change++
	}
	values, ok := c.leafOf(&at, i)
	if !ok {
		s.change, s.policy.epoch = -1, -1
		return
	}
	text := func(name string) string { return textOf(values, audit.PolicyChange, name) }
	id, epoch := integerOf(values, audit.PolicyChange, "change_id"), integerOf(values, audit.PolicyChange, "policy_epoch")
	var after struct {
		Active *string `json:"active"`
	}
	if err := json.Unmarshal([]byte(text("after")), &after); err != nil {
		c.report.Add(at.fault(Tampered, "it is no change that a gate has made: after: "+err.Error()))
	}
	raises := slices.Contains([]string{engine.PolicySeed, engine.PolicyActivate, engine.PolicyRollback}, text("kind"))
	before := s.policy
	s.policy = policyHead{epoch: epoch, after: text("after")}
	if after.Active != nil {
		s.policy.active = *after.Active
	}
	want := before.epoch
	if raises {
		want++
	}
	switch {
	case s.change >= 0 && id != s.change:
		c.report.Add(at.fault(Tampered, fmt.Sprintf("change %d of the policy was to be next", s.change)))
	case before.epoch >= 0 && epoch != want:
		c.report.Add(at.fault(Tampered, fmt.Sprintf("the policy was at epoch %d, and a change of kind %s makes it %d, not %d", before.epoch, text("kind"), want, epoch)))
	case before.epoch >= 0 && !raises && s.policy.active != before.active, raises && s.policy.active != text("bundle_hash"):
		c.report.Add(at.fault(Tampered, fmt.Sprintf("after a change of kind %s to %s the active bundle cannot be %.80q", text("kind"), text("bundle_hash"), s.policy.active)))
	}
	s.change = id
}

func textOf(values []any, kind *audit.Kind, column string) string {
	if s, ok := values[column2index(kind, column)].(string); ok {
		return s
	}
	return ""
}

func integerOf(values []any, kind *audit.Kind, column string) int64 {
	if column == "" {
		return 0
	}
	n, _ := values[column2index(kind, column)].(int64)
	return n
}

// columns are where each kind has its columns.
var columns = func() map[*audit.Kind]map[string]int {
	all := map[*audit.Kind]map[string]int{}
	for _, k := range audit.Kinds {
		all[k] = map[string]int{}
		for i, c := range k.Columns {
			all[k][c] = i
		}
	}
	return all
}()

func column2index(kind *audit.Kind, column string) int {
	i, ok := columns[kind][column]
	if !ok {
		if column == "tenant_id" {
			return 0 // of changes of the policy, which have none; not looked at
		}
		panic("replay: a leaf " + kind.Name + " has no " + column)
	}
	return i
}
