package review

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tiergate/tiergate/engine"
)

// Outcome is what a bundle makes of situations. Where Err is set, the gate would
// give no decision, whatever the verdict says. The rationale may name another
// action type of the same radius.
type Outcome struct {
	engine.Verdict
	Err string // why the verdict is not usable; empty when it is
}

// Table is the outcome of every situation of a space under one bundle.
type Table struct {
	Space       *Space
	ID          engine.PolicyID
	Outcomes    []Outcome // without repetition
	Evaluations int       // that settled every situation

	cells []uint16 // by situation, an index into Outcomes
	// byName: some evaluation told action types of one radius apart.
	byName bool
}

// At is the outcome of a situation.
func (t *Table) At(x Situation) *Outcome { return &t.Outcomes[t.cells[t.Space.index(x)]] }

// Progress is told how many of the situations are settled.
type Progress func(done, total int)

// Subject is a bundle under review.
type Subject struct {
	engine.PolicySource
	policy *engine.Policy
	tracer *engine.Tracer

	// keep has the last table kept, for comparing one bundle with many.
	keep bool
	last *settled
}

// settled is a table with what its evaluations did.
type settled struct {
	table *Table
	*findings
}

// findings are what evaluations read and held the input against.
type findings struct {
	seen  map[engine.Sight]engine.Sides
	paths map[string]bool // that were read and are not in the input
	reads [engine.Parts]bool
	held  map[string]bool // rules that held, by place
	loose bool            // the action type was used loosely, see engine.Trace
}

func newFindings() *findings {
	return &findings{seen: map[engine.Sight]engine.Sides{}, paths: map[string]bool{}, held: map[string]bool{}}
}

func (f *findings) add(g *findings) {
	for s, sides := range g.seen {
		f.seen[s] |= sides
	}
	maps.Copy(f.paths, g.paths)
	maps.Copy(f.held, g.held)
	f.loose = f.loose || g.loose
	for p, read := range g.reads {
		f.reads[p] = f.reads[p] || read
	}
}

// NewSubject compiles a bundle for review, without refusing it for what it
// decides.
func NewSubject(ctx context.Context, src engine.PolicySource) (*Subject, error) {
	tracer, err := engine.NewTracer(ctx, src)
	if err != nil {
		return nil, err
	}
	return &Subject{PolicySource: src, policy: tracer.Policy(), tracer: tracer}, nil
}

// radius is the radius that the action table gives a type; zero: none.
func (s *Subject) radius(actionType string) engine.BlastRadius {
	for _, a := range s.policy.Actions() {
		if a.ActionType == actionType {
			return a.BlastRadius
		}
	}
	return 0
}

// Policy is the compiled bundle.
func (s *Subject) Policy() *engine.Policy { return s.policy }

// decide settles every situation, on all cores but leave: a gate that answers
// requests meanwhile keeps those. progress may be nil. What the evaluations
// read and held the input against is added to f.
func (s *Space) decide(ctx context.Context, subject *Subject, leave int, progress Progress, f *findings) (*Table, error) {
	last := subject.last
	if last == nil || !last.table.Space.same(s) {
		t, err := s.settle(ctx, subject, leave, progress, nil)
		if err != nil {
			return nil, err
		}
		if last = t; subject.keep {
			subject.last = t
		}
	}
	f.add(last.findings)
	t := *last.table
	t.Space = s
	return &t, nil
}

// settle is decide for one subject. The table is made in cells, of the
// space's size, unless they are nil: a proof makes several and needs one at a time.
func (s *Space) settle(ctx context.Context, subject *Subject, leave int, progress Progress, cells []uint16) (*settled, error) {
	if cells == nil {
		cells = make([]uint16, s.size)
	}
	x := &explorer{
		space: s, subject: subject, table: &Table{Space: s, ID: subject.ID, cells: cells},
		ids: map[string]uint16{}, found: newFindings(), class: map[engine.BlastRadius][]int{},
	}
	for v := range slices.Max(s.sizes[:]) {
		x.all = append(x.all, v)
	}
	for i, name := range s.ActionTypes {
		r := subject.radius(name)
		x.radii = append(x.radii, r)
		x.class[r] = append(x.class[r], i)
	}
	tasks := make(chan Situation)
	group, ctx := errgroup.WithContext(ctx)
	for range max(1, runtime.GOMAXPROCS(0)-leave) {
		group.Go(func() error {
			w := &walker{explorer: x, memo: subject.tracer.NewMemo(), found: newFindings(), ids: map[*engine.Decided]uint16{}}
			defer w.done()
			for task := range tasks {
				if err := w.walk(ctx, task, fixed{engine.PartTier: true}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(tasks)
		for _, members := range x.class {
			for tier := range tiers {
				select {
				case tasks <- Situation{engine.PartActionType: members[0], engine.PartTier: tier}:
				case <-ctx.Done():
					return ctx.Err()
				}
				if progress != nil {
					progress(int(x.settled.Load()), s.size)
				}
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if n := int(x.settled.Load()); n != s.size {
		return nil, fmt.Errorf("%d of %d situations were settled: this is a mistake in tiergate", n, s.size)
	}
	if progress != nil {
		progress(s.size, s.size)
	}
	x.table.Evaluations = int(x.evaluations.Load())
	x.table.byName = x.found.reads[engine.PartActionType]
	return &settled{x.table, x.found}, nil
}

// explorer walks the tree of what an evaluation reads next.
type explorer struct {
	space   *Space
	subject *Subject
	table   *Table
	// class are the action types of each radius, zero for unknown ones. Within
	// one, an evaluation need not read which action type it is about.
	class map[engine.BlastRadius][]int
	radii []engine.BlastRadius // by action type

	mu    sync.Mutex
	ids   map[string]uint16
	found *findings

	all []int // 0, 1, 2, …

	settled, evaluations atomic.Int64
}

// walker is one of those who explore at the same time.
type walker struct {
	*explorer
	memo  *engine.Memo
	found *findings
	ids   map[*engine.Decided]uint16
}

// fixed says which parts of a situation are chosen.
type fixed [engine.Parts]bool

// values are those that a part takes in the situations around x: all, but for
// the action type only those of one radius.
func (e *explorer) values(p engine.Part, x Situation) []int {
	if p == engine.PartActionType {
		return e.class[e.radii[x[p]]]
	}
	return e.all[:e.space.sizes[p]]
}

// walk settles every situation that agrees with x in the fixed parts, and has an
// action type of the same radius: one evaluation settles those that also agree in
// what it read; then each part that it read takes its other values in turn.
func (e *walker) walk(ctx context.Context, x Situation, f fixed) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id, reads, err := e.evaluate(ctx, x, f)
	if err != nil {
		return err
	}
	inner := f
	for _, p := range reads {
		inner[p] = true
	}
	e.settle(x, inner, id)
	for i := len(reads) - 1; i >= 0; i-- {
		p := reads[i]
		inner[p] = false
		outer := inner
		outer[p] = true
		for _, v := range e.values(p, x) {
			if v == x[p] {
				continue
			}
			y := x
			y[p] = v
			for _, later := range reads[i+1:] {
				y[later] = e.values(later, x)[0]
			}
			if err := e.walk(ctx, y, outer); err != nil {
				return err
			}
		}
	}
	return nil
}

// evaluate decides x and returns what came of it, and which parts beside the
// fixed ones it read. An error ends the exploration: a bundle that is too slow
// would not come to an end.
func (e *walker) evaluate(ctx context.Context, x Situation, f fixed) (uint16, []engine.Part, error) {
	at := engine.Place{Values: x, Class: int(e.radii[x[engine.PartActionType]])}
	situation := func() (*engine.Request, *engine.Facts) { return e.space.facts(x) }
	d, trace, ran := e.subject.tracer.DecideAt(ctx, e.memo, at, situation, Now)
	if ran {
		e.evaluations.Add(1)
		e.found.note(trace)
	}
	if errors.Is(d.Err, engine.ErrTooSlow) {
		return 0, nil, fmt.Errorf("%s: %w", e.space.Describe(x), d.Err)
	}
	id, err := e.id(d)
	return id, slices.DeleteFunc(trace.Reads, func(p engine.Part) bool { return f[p] }), err
}

func (f *findings) note(t engine.Trace) {
	for s, sides := range t.Sights {
		f.seen[s] |= sides
	}
	for _, path := range t.Unknown {
		f.paths[path] = true
	}
	maps.Copy(f.held, t.Held)
	f.loose = f.loose || t.Loose
	for _, p := range t.Reads {
		f.reads[p] = true
	}
}

// done hands over what the walker found.
func (e *walker) done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.explorer.found.add(e.found)
}

// settle writes the outcome of every situation that agrees with x where f says.
func (e *explorer) settle(x Situation, f fixed, id uint16) {
	s := e.space
	var free []int
	for p := range engine.Parts {
		if f[p] {
			continue
		}
		if p != int(engine.PartActionType) {
			x[p] = 0
			if s.sizes[p] > 1 {
				free = append(free, p)
			}
		}
	}
	// The last parts lie side by side: where they are free, a run of cells.
	run := 1
	for len(free) > 0 && s.strides[free[len(free)-1]] == run {
		run *= s.sizes[free[len(free)-1]]
		free = free[:len(free)-1]
	}
	n := 0
	var fill func(at int, free []int)
	fill = func(at int, free []int) {
		if len(free) == 0 {
			cells := e.table.cells[at : at+run]
			for i := range cells {
				cells[i] = id
			}
			n += run
			return
		}
		p := free[0]
		for range s.sizes[p] {
			fill(at, free[1:])
			at += s.strides[p]
		}
	}
	types := []int{x[engine.PartActionType]}
	if !f[engine.PartActionType] {
		types = e.values(engine.PartActionType, x)
	}
	for _, a := range types {
		x[engine.PartActionType] = a
		fill(s.index(x), free)
	}
	e.settled.Add(int64(n))
}

// id numbers an outcome; equal ones have one number.
func (e *walker) id(d *engine.Decided) (uint16, error) {
	if id, ok := e.ids[d]; ok {
		return id, nil
	}
	o := Outcome{Verdict: d.Verdict}
	if d.Err != nil {
		o.Err = d.Err.Error()
	}
	k := fmt.Sprint(o.Decision, o.Rule, o.Rationale, o.BlastRadius, o.MaturityTier, o.TierLabel, o.OverridesApplied, o.Err)
	e.mu.Lock()
	defer e.mu.Unlock()
	id, ok := e.explorer.ids[k]
	if !ok && len(e.table.Outcomes) > math.MaxUint16 {
		return 0, fmt.Errorf("%w: its decisions and rationales differ in more than %d ways", ErrTooLarge, math.MaxUint16)
	}
	if !ok {
		id = uint16(len(e.table.Outcomes))
		e.explorer.ids[k] = id
		e.table.Outcomes = append(e.table.Outcomes, o)
	}
	e.ids[d] = id
	return id, nil
}
