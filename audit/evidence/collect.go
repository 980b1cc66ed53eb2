package evidence

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tiergate/tiergate/audit"
)

// Source is where evidence is taken from.
type Source interface {
	audit.Source
	// DecisionsBetween returns the first log_seq of the tenant that was decided at
	// from or later, and the last that was decided before to; a zero time is no
	// bound. first is 0 where there is none, and so is last.
	DecisionsBetween(ctx context.Context, tenant string, from, to time.Time) (first, last int64, err error)
	// BundleArchives returns the archives that are kept of a bundle, newest first.
	BundleArchives(ctx context.Context, hash string) ([][]byte, error)
	// Checkpoint returns the newest signed checkpoint that is kept of the tenant's
	// tree with at most size leaves, nil where there is none.
	Checkpoint(ctx context.Context, tenant string, size int64) ([]byte, error)
}

// Window is the part of a tenant's log that is asked for.
type Window struct {
	Tenant   string
	From, To time.Time // From <= decided_at < To; zero: unbounded
}

// Extent is the leaves whose rows are taken, and the tree that they are of.
type Extent struct {
	First, End int64 // leaves from First to before End
	Size       int64
	Edge       []byte
}

var columnOf = func() map[string]int {
	m := map[string]int{}
	for _, k := range []*audit.Kind{audit.Decision, audit.ApprovalEvent} {
		m[k.Name] = slices.Index(k.Columns, "input")
	}
	return m
}()

// Collect calls each for the items of a tenant's whole log as it is now, in
// order: with rows where they are in the window or change the configuration or
// the policy before it. It reads short pages. An item is valid until each returns.
func Collect(ctx context.Context, source Source, w Window, each func(*Item) error) (Extent, error) {
	head, err := source.Head(ctx, w.Tenant)
	if err != nil {
		return Extent{}, err
	}
	c := &collection{each: each, extent: Extent{First: -1, End: -1, Size: head.Size, Edge: head.Edge}}
	first, last, err := source.DecisionsBetween(ctx, w.Tenant, w.From, w.To)
	if err != nil {
		return c.extent, err
	}
	c.low, c.high = first-1, last+1
	if first == 0 {
		c.low = head.LogSeq
	}
	if err := c.oldChanges(ctx, source, w.Tenant); err != nil {
		return c.extent, err
	}
	if err := audit.Walk(ctx, source, w.Tenant, head.Size, c.wanted, c.leaf); err != nil {
		return c.extent, err
	}
	if c.extent.First < 0 {
		c.extent.First = 0
	}
	if c.extent.End < 0 {
		c.extent.End = head.Size
	}
	return c.extent, c.flush()
}

type collection struct {
	each      func(*Item) error
	extent    Extent
	low, high int64 // log_seq of the decisions on both sides of the window
	run       Item  // leaves without rows that are not yet handed on
	item      Item
	inside    bool
	scratch   []byte
}

// oldChanges hands on the changes of configuration that are older than the tree:
// nothing vouches for them, and what came later builds on them.
func (c *collection) oldChanges(ctx context.Context, source Source, tenant string) error {
	genesis, err := source.Rows(ctx, tenant, audit.Genesis, "", 0, 1)
	if err != nil || len(genesis) == 0 {
		return err
	}
	column := func(name string) int64 {
		n, _ := genesis[0].Values[slices.Index(audit.Genesis.Columns, name)].(int64)
		return n
	}
	if c.low <= column("log_seq") {
		c.inside, c.extent.First = true, 0
	}
	const page = 512
	for at, end := int64(1), column("epoch"); at <= end; at += page {
		rows, err := source.Rows(ctx, tenant, audit.ConfigChange, "", at, min(at+page, end+1))
		if err != nil {
			return err
		}
		for _, row := range rows {
			c.item = Item{First: -1}
			if err := c.row(audit.ConfigChange, row); err != nil {
				return err
			}
			if err := c.each(&c.item); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted follows the window as the leaves go by.
func (c *collection) wanted(l *audit.Leaf) bool {
	if l.Kind == audit.Decision && !c.inside && c.extent.First < 0 && l.Seq >= c.low {
		c.inside, c.extent.First = true, l.Index
	}
	before := c.extent.First < 0
	return c.inside || before && (l.Kind == audit.Genesis || l.Kind == audit.ConfigChange || l.Kind == audit.PolicyChange)
}

func (c *collection) leaf(l *audit.Leaf) error {
	wanted := c.inside || c.extent.First < 0 && (l.Kind == audit.Genesis || l.Kind == audit.ConfigChange || l.Kind == audit.PolicyChange)
	if c.inside && l.Kind == audit.Decision && l.Seq >= c.high {
		c.inside, c.extent.End = false, l.Index+1
	}
	if !wanted {
		if c.run.Hashes == nil {
			c.run.First = l.Index
		}
		if c.run.Hashes = append(c.run.Hashes, l.Hash[:]...); c.run.Leaves() == maxRun {
			return c.flush()
		}
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.item = Item{First: l.Index, Hashes: l.Hash[:]}
	switch l.Copies {
	case 0:
		c.item.Gone = fmt.Sprintf("%s %d", l.Kind.Name, l.Seq)
		if l.ID != "" {
			c.item.Gone += " of " + l.ID
		}
	case 1:
		if err := c.row(l.Kind, l.Row); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%d rows claim to be %s %d, leaf %d: run tiergate verify on the database", l.Copies, l.Kind.Name, l.Seq, l.Index)
	}
	return c.each(&c.item)
}

// row puts a row into the item, as the bytes of its leaf.
func (c *collection) row(kind *audit.Kind, row audit.Row) error {
	leaf, err := kind.AppendLeaf(c.scratch[:0], row.Values)
	if err != nil {
		return fmt.Errorf("a row cannot be written as a leaf, so that it is none of ours: %w", err)
	}
	c.scratch = leaf
	c.item.Kind, c.item.Leaf, c.item.Parameters = kind, leaf, row.Parameters
	if at, ok := columnOf[kind.Name]; ok {
		c.item.Input, _ = row.Values[at].([]byte)
	}
	return nil
}

func (c *collection) flush() error {
	if c.run.Hashes == nil {
		return nil
	}
	err := c.each(&c.run)
	c.run.Hashes = c.run.Hashes[:0]
	if len(c.run.Hashes) == 0 {
		c.run = Item{}
	}
	return err
}
