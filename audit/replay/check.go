package replay

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/engine"
)

// Feed calls each for the items of one tenant's log, in order. Items stay as they
// are.
type Feed func(ctx context.Context, each func(*evidence.Item) error) error

// Bundles returns the policy with that bundle hash, or an error that wraps
// ErrNoBundle. It is called once for each hash.
type Bundles func(ctx context.Context, hash string) (*engine.Policy, error)

// Options says what is checked. Tenant and Bundles are required.
type Options struct {
	Tenant string
	// First and End are which leaves must have their rows; End -1: to the last.
	First, End int64
	From, To   string // the window that First and End belong to, as times in rows are written; "": unbounded
	// Want is the tree that the items say they are of; nil: none in particular.
	Want *audit.Kept
	// Kept are what others have kept of the tree.
	Kept []Checkpoint
	// Bundles are the policies that rows name.
	Bundles Bundles
	// NoRedecide leaves out to decide every row again.
	NoRedecide bool
	Workers    int                // 0: one for each core
	Progress   func(leaves int64) // nil: nobody is told
	// Each is given every item as well, in order; nil: nobody is.
	Each func(*evidence.Item) error
}

// Checkpoint is what a tree's size and root were once, and who says so.
type Checkpoint struct {
	audit.Kept
	Name string
}

// Check holds a log against itself: each row against its leaf, the leaves
// against the roots that are known of them, the order of rows against their
// numbers, what each decision saw against the configuration and the policy that
// follow from the changes before it, and each decision against what its bundle
// says about its input.
//
// It reads the items once and needs memory for the configuration, not for the
// rows. An error is one of feed or ctx, and says nothing about the log.
func Check(ctx context.Context, o Options, feed Feed) (*Report, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	c := &checker{Options: o, report: newReport(o.Tenant), policies: &policies{load: o.Bundles, known: map[string]*policy{}}}
	if err := c.begin(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := make(chan []job, o.Workers)
	var wg sync.WaitGroup
	for range o.Workers {
		wg.Go(func() {
			w := worker{checker: c}
			for batch := range jobs {
				for i := range batch {
					if ctx.Err() == nil {
						w.check(ctx, &batch[i])
					}
				}
			}
		})
	}
	var batch []job
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case jobs <- batch:
			batch = make([]job, 0, batchSize)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := feed(ctx, func(i *evidence.Item) error {
		j, work := c.item(ctx, i)
		if work {
			batch = append(batch, j)
		}
		if o.Each != nil {
			if err := o.Each(i); err != nil {
				return err
			}
		}
		if o.Progress != nil {
			o.Progress(i.Leaves())
		}
		if len(batch) == batchSize {
			return send()
		}
		return nil
	})
	if err == nil {
		err = send()
	}
	if err != nil {
		cancel()
	}
	close(jobs)
	wg.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	c.end()
	return c.report.done(), nil
}

// CheckFile checks an evidence file. What the file says of itself takes the place
// of what o says: its tenant, the window, and the tree that it claims to be of.
func CheckFile(ctx context.Context, f *evidence.File, o Options) (*Report, error) {
	root, err := tlog.ParseHash(f.TreeRoot)
	if err != nil {
		return nil, err
	}
	o.Tenant, o.First, o.End, o.From, o.To = f.Tenant, f.FirstLeaf, f.EndLeaf, "", ""
	o.Want = &audit.Kept{Size: f.TreeSize, Root: root}
	if f.From != nil {
		o.From = *f.From
	}
	if f.To != nil {
		o.To = *f.To
	}
	return Check(ctx, o, f.Items)
}

// batchSize is how many rows a worker is given at a time.
const batchSize = 64

// checker is what one goroutine does in the order of the log; what needs no order
// is left to the workers.
type checker struct {
	Options
	report   *Report
	policies *policies
	state    state
	edge     audit.Edge
	kept     []Checkpoint
	begun    bool
	first    []*evidence.Item // the first two decisions, and the last two
	last     []*evidence.Item
}

func (c *checker) begin() error {
	c.kept = slices.Clone(c.Kept)
	for _, k := range c.kept {
		if k.Size < 1 {
			return fmt.Errorf("%s is of a tree with %d leaves", k.Name, k.Size)
		}
	}
	return c.state.begin(c.Tenant)
}

// item does what must be done in order, and says what a worker is to do.
func (c *checker) item(ctx context.Context, i *evidence.Item) (j job, work bool) {
	at := place{Leaf: i.First, kind: i.Kind}
	if i.Hashes == nil { // a change that is older than the tree
		if c.begun {
			c.report.Add(at.fault(Tampered, "a change from before the tree stands behind its beginning"))
			return j, false
		}
		c.change(at, i)
		return j, false
	}
	c.begun = true
	for n := range i.Leaves() {
		c.grow(tlog.Hash(i.Hashes[n*tlog.HashSize : (n+1)*tlog.HashSize]))
	}
	if i.Kind == nil {
		c.absent(i)
		return j, false
	}
	c.report.count(i.Kind)
	if (i.Kind == audit.Genesis) != (i.First == 0) {
		c.report.Add(at.fault(Tampered, "a tree begins with its genesis and has one"))
		return j, false
	}
	switch i.Kind {
	case audit.Genesis:
		c.genesis(at, i)
		return j, false
	case audit.ConfigChange:
		c.change(at, i)
		return j, false
	case audit.PolicyChange:
		c.policyChange(at, i)
		return j, false
	case audit.Decision:
		c.edges(i)
		return job{item: i, at: at, seen: c.state.next(i)}, true
	}
	return job{item: i, at: at}, true
}

// absent notes leaves that have no row.
func (c *checker) absent(i *evidence.Item) {
	from, to := max(i.First, c.First), i.First+i.Leaves()
	if c.End >= 0 {
		to = min(to, c.End)
	}
	switch {
	case i.Gone != "":
		c.report.Add(place{Leaf: i.First}.fault(Incomplete, "the row is gone: "+i.Gone))
	case from < to:
		c.report.Add(place{Leaf: from}.fault(Incomplete, fmt.Sprintf("%d rows of the window are not here", to-from)))
	}
	c.state.absent(i, from < to)
}

// grow adds a leaf, and holds the tree against the checkpoints of its size.
func (c *checker) grow(hash tlog.Hash) {
	c.edge.Add(hash, nil)
	if len(c.kept) == 0 {
		return
	}
	c.kept = slices.DeleteFunc(c.kept, func(k Checkpoint) bool {
		if k.Size != c.edge.Size() {
			return false
		}
		if root := c.edge.Root(); root != k.Root {
			c.report.Add(place{Leaf: -1}.fault(Tampered, fmt.Sprintf("by %s the tree of the first %d leaves had the root %v, and has %v here: what is there was rewritten", k.Name, k.Size, k.Root, root)))
		} else {
			c.report.Checkpoints++
		}
		return true
	})
}

// edges keeps the decisions at both ends.
func (c *checker) edges(i *evidence.Item) {
	if len(c.first) < 2 {
		c.first = append(c.first, i)
	}
	if c.last = append(c.last, i); len(c.last) > 2 {
		c.last = slices.Clone(c.last[1:])
	}
}

func (c *checker) end() {
	r, size := c.report, c.edge.Size()
	r.Size, r.Root = size, c.edge.Root()
	if size == 0 {
		r.Add(place{Leaf: -1}.fault(Incomplete, "there is no leaf: nothing is shown"))
	}
	if w := c.Want; w != nil && size != w.Size {
		r.Add(place{Leaf: -1}.fault(Incomplete, fmt.Sprintf("there are %d leaves, and the tree has %d", size, w.Size)))
	} else if w != nil && r.Root != w.Root {
		r.Add(place{Leaf: -1}.fault(Tampered, fmt.Sprintf("the root of the leaves is %v, and the tree's is %v", r.Root, w.Root)))
	}
	for _, k := range c.kept {
		r.Add(place{Leaf: -1}.fault(Incomplete, fmt.Sprintf("by %s the tree had %d leaves once, and has %d here: its end is missing", k.Name, k.Size, size)))
	}
	c.window(size)
}

// window checks that no decision of the window is left out: the rows reach one
// decision beyond it, or to the end of the tree, on both sides, and not further.
func (c *checker) window(size int64) {
	if c.End >= 0 && (c.From == "" && c.First != 0 || c.To == "" && c.End != size) {
		c.report.Add(place{Leaf: c.First}.fault(Incomplete, "the window has no bound, and the rows do not reach to the end of the tree"))
	}
	time := func(list []*evidence.Item, at int) string {
		if at < 0 || at >= len(list) {
			return ""
		}
		values, err := audit.Decision.ParseLeaf(list[at].Leaf)
		if err != nil {
			return "" // said already
		}
		return textOf(values, audit.Decision, "decided_at")
	}
	if c.From != "" && c.First > 0 {
		if edge, next := time(c.first, 0), time(c.first, 1); edge >= c.From || next != "" && next < c.From {
			c.report.Add(place{Leaf: c.First}.fault(Incomplete, fmt.Sprintf("the rows begin with a decision at %s, which does not show that none since %s is left out", edge, c.From)))
		}
	}
	if c.To != "" && c.End >= 0 && c.End < size {
		if edge, before := time(c.last, len(c.last)-1), time(c.last, len(c.last)-2); edge < c.To || before >= c.To {
			c.report.Add(place{Leaf: c.End - 1}.fault(Incomplete, fmt.Sprintf("the rows end with a decision at %s, which does not show that none before %s is left out", edge, c.To)))
		}
	}
}
