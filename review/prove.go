package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tiergate/tiergate/engine"
)

// Proof says which promises a bundle keeps over its whole space. It is kept by
// bundle hash and engine version.
type Proof struct {
	BundleHash    string         `json:"bundle_hash"`
	Revision      string         `json:"revision"`
	EngineVersion string         `json:"engine_version"`
	Holds         bool           `json:"holds"` // every promise
	Situations    int            `json:"situations"`
	Evaluations   int            `json:"evaluations"`
	Seconds       float64        `json:"seconds"`
	Space         map[string]int `json:"space"` // by part, how many values it takes
	Promises      []Checked      `json:"promises"`
	// NotCovered and ByExample are as in Space: what the proof says nothing, or
	// less, about.
	NotCovered []string `json:"not_covered"`
	ByExample  []string `json:"by_example"`
}

// Checked is what became of one promise.
type Checked struct {
	Name           string          `json:"name"`
	Title          string          `json:"title"`
	Holds          bool            `json:"holds"`
	Situations     int             `json:"situations"` // that it says something about
	Broken         int             `json:"broken"`     // of those
	Counterexample *Counterexample `json:"counterexample,omitempty"`
}

// Counterexample is the plainest situation in which a promise is broken.
type Counterexample struct {
	Sentence string `json:"sentence"`
	// Inputs are the input documents, as `tiergate eval` takes them: two for a
	// promise that compares situations, none for one about the bundle as such.
	Inputs []json.RawMessage `json:"inputs"`
}

// ProveOptions says how to prove.
type ProveOptions struct {
	EngineVersion string
	LeaveCores    int                                 // for what else runs in the process
	Progress      func(stage string, done, total int) // may be nil; called by several goroutines
}

// Prove checks every promise over everything that the bundle can tell apart.
// The error is about proving; a promise that is broken is in the Proof.
func Prove(ctx context.Context, subject *Subject, o ProveOptions) (*Proof, error) {
	started := time.Now()
	progress := func(stage string) Progress {
		if o.Progress == nil {
			return nil
		}
		return func(done, total int) { o.Progress(stage, done, total) }
	}
	proof, err := prove(ctx, subject, o, progress, false)
	if errors.Is(err, errByName) {
		proof, err = prove(ctx, subject, o, progress, true)
	}
	if err != nil {
		return nil, err
	}
	proof.Seconds = time.Since(started).Seconds()
	return proof, nil
}

// errByName: with another radius, an evaluation tells action types apart.
var errByName = errors.New("action types have to be apart")

func prove(ctx context.Context, subject *Subject, o ProveOptions, progress func(string) Progress, apart bool) (*Proof, error) {
	tables, err := explore(ctx, o.LeaveCores, progress("deciding every situation"), apart, subject)
	if err != nil {
		return nil, err
	}
	table := tables[0]
	c := newChecker(table, subject.policy.Actions())
	proof := &Proof{
		BundleHash: subject.ID.BundleHash, Revision: subject.ID.Revision, EngineVersion: o.EngineVersion,
		Situations: table.Space.Size(), Evaluations: table.Evaluations, Space: map[string]int{},
		NotCovered: slices.Clip(append([]string{}, table.Space.NotCovered...)), ByExample: append([]string{}, table.Space.ByExample...),
	}
	for p, n := range table.Space.sizes {
		proof.Space[engine.Part(p).String()] = n
	}
	proof.Space[engine.PartActionType.String()] = table.Space.known()
	if proof.Promises, err = c.checkAll(ctx, o.LeaveCores, progress("checking the promises")); err != nil {
		return nil, err
	}
	radius, evaluations, err := c.checkRadius(ctx, subject, o.LeaveCores, progress("deciding with other radii"))
	if err != nil {
		return nil, err
	}
	proof.Evaluations += evaluations
	proof.Promises = append(proof.Promises, radius, checkBuiltins(subject.policy))
	proof.Holds = !slices.ContainsFunc(proof.Promises, func(p Checked) bool { return !p.Holds })
	return proof, nil
}

// score counts one promise, and keeps the plainest situation that breaks it.
type score struct {
	applies, broken int
	worst           Situation
}

func (t *score) add(u score, s *Space) {
	if u.broken > 0 && (t.broken == 0 || s.plainer(u.worst, t.worst)) {
		t.worst = u.worst
	}
	t.applies += u.applies
	t.broken += u.broken
}

// scan looks at every cell, in parallel by action type and tier.
func (s *Space) scan(ctx context.Context, leave int, progress Progress, block func(x Situation, first, n int)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, runtime.GOMAXPROCS(0)-leave))
	n, done := s.strides[engine.PartTier], 0
	var mu sync.Mutex
	for first := 0; first < s.size; first += n {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			block(s.situation(first), first, n)
			mu.Lock()
			defer mu.Unlock()
			if done += n; progress != nil {
				progress(done, s.size)
			}
			return nil
		})
	}
	return group.Wait()
}

// next steps to the situation of the next cell.
func (s *Space) next(x *Situation) {
	for p := engine.Parts - 1; p >= 0; p-- {
		if x[p]++; x[p] < s.sizes[p] {
			return
		}
		x[p] = 0
	}
}

func (c *checker) checkAll(ctx context.Context, leave int, progress Progress) ([]Checked, error) {
	total := make([]score, len(promises))
	var mu sync.Mutex
	err := c.space.scan(ctx, leave, progress, func(x Situation, first, n int) {
		weight := c.weights[x[engine.PartActionType]]
		if weight == 0 {
			return
		}
		part := make([]score, len(promises))
		for i := first; i < first+n; i++ {
			for k := range promises {
				p, t := &promises[k], &part[k]
				if !p.applies(c, &x, i) {
					continue
				}
				if t.applies++; !p.holds(c, &x, i) {
					if t.broken++; t.broken == 1 || c.space.plainer(x, t.worst) {
						t.worst = x
					}
				}
			}
			c.space.next(&x)
		}
		mu.Lock()
		defer mu.Unlock()
		for k := range total {
			part[k].applies *= weight
			part[k].broken *= weight
			total[k].add(part[k], c.space)
		}
	})
	if err != nil {
		return nil, err
	}
	list := make([]Checked, len(promises))
	for k, t := range total {
		p := promises[k]
		list[k] = Checked{Name: p.Name, Title: p.Title, Holds: t.broken == 0, Situations: t.applies, Broken: t.broken}
		if t.broken > 0 {
			list[k].Counterexample = c.counterexample(p, t.worst)
		}
	}
	return list, nil
}

func (c *checker) counterexample(p Promise, x Situation) *Counterexample {
	e := &Counterexample{
		Sentence: fmt.Sprintf("%s: %s", c.space.Describe(x), c.table.At(x)),
		Inputs:   []json.RawMessage{c.space.Input(x)},
	}
	if p.beside != nil {
		y, as := p.beside(c, x)
		e.Sentence += fmt.Sprintf("; %s: %s", as, c.table.At(y))
		e.Inputs = append(e.Inputs, c.space.Input(y))
	}
	return e
}

// checkRadius decides the same situations under the same rules with tables that
// give every action type one radius after the other. It overwrites the checker's
// table, of which nothing is asked any more.
func (c *checker) checkRadius(ctx context.Context, subject *Subject, leave int, progress Progress) (Checked, int, error) {
	out := Checked{Name: radiusNeverWidens.Name, Title: radiusNeverWidens.Title, Holds: true}
	evaluations := 0
	var before *Subject // with the radius below
	widths := make([]int8, c.space.size)
	var worst score
	for radius := engine.Minimal; radius <= engine.Critical; radius++ {
		variant, err := NewSubject(ctx, withRadius(subject.PolicySource, radius))
		if err != nil {
			return out, 0, fmt.Errorf("with every radius %s: %w", radius, err)
		}
		settled, err := c.space.settle(ctx, variant, leave, progress, c.cells)
		if err != nil {
			return out, 0, err
		}
		if c.space.finer(settled.findings) != nil {
			return out, 0, errByName
		}
		evaluations += settled.table.Evaluations
		found, err := c.widened(ctx, settled.table, widths, leave, before != nil)
		if err != nil {
			return out, 0, err
		}
		if found.broken > 0 && out.Counterexample == nil {
			x := found.worst
			lower, err := before.decideOne(ctx, c.space, x)
			if err != nil {
				return out, 0, err
			}
			out.Counterexample = &Counterexample{
				Sentence: fmt.Sprintf("%s: with radius %s %s; with radius %s %s", c.space.Describe(x), radius-1, lower, radius, settled.table.At(x)),
				Inputs:   []json.RawMessage{c.space.Input(x)},
			}
		}
		worst.add(found, c.space)
		before = variant
	}
	out.Situations, out.Broken, out.Holds = worst.applies, worst.broken, worst.broken == 0
	return out, evaluations, nil
}

// widened compares a table with the widths of the one before, if there was one,
// and puts its own in their place.
func (c *checker) widened(ctx context.Context, t *Table, widths []int8, leave int, compare bool) (total score, err error) {
	of := make([]int8, len(t.Outcomes))
	for i, o := range t.Outcomes {
		of[i] = int8(width(o.Decision))
	}
	var mu sync.Mutex
	err = c.space.scan(ctx, leave, nil, func(x Situation, first, n int) {
		part := score{}
		members := len(c.space.members[x[engine.PartActionType]])
		if compare {
			part.applies = n
		}
		for i := first; i < first+n; i++ {
			w := of[t.cells[i]]
			if compare && w > widths[i] {
				x := c.space.situation(i)
				if part.broken++; part.broken == 1 || c.space.plainer(x, part.worst) {
					part.worst = x
				}
			}
			widths[i] = w
		}
		part.applies *= members
		part.broken *= members
		mu.Lock()
		defer mu.Unlock()
		total.add(part, c.space)
	})
	return total, err
}

// withRadius is the bundle with one radius for every action type of its table.
func withRadius(src engine.PolicySource, radius engine.BlastRadius) engine.PolicySource {
	gate, _ := src.Data["gate"].(map[string]any)
	table, _ := gate["actions"].(map[string]any)
	actions := make(map[string]any, len(table))
	for name, row := range table {
		r, _ := row.(map[string]any)
		r = maps.Clone(r)
		r["blast_radius"] = radius.String()
		actions[name] = r
	}
	gate, data := maps.Clone(gate), maps.Clone(src.Data)
	gate["actions"] = actions
	data["gate"] = gate
	src.Data = data
	return src
}

func checkBuiltins(p *engine.Policy) Checked {
	out := Checked{Name: noClock.Name, Title: noClock.Title, Holds: true}
	var bad []string
	for _, name := range p.Builtins() {
		if engine.Impure(name) {
			bad = append(bad, name)
		}
		out.Situations++
	}
	if out.Broken = len(bad); out.Broken > 0 {
		out.Holds = false
		out.Counterexample = &Counterexample{Sentence: "the bundle calls " + strings.Join(bad, ", "), Inputs: []json.RawMessage{}}
	}
	return out
}
