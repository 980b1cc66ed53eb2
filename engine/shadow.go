package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

const (
	// shadowShare is how much of the machine's processors a shadow may use.
	shadowShare = 0.03
	// shadowQueue is how many decisions wait for it at most, a few kilobytes each.
	shadowQueue = 1024
	// shadowBurst is how long it works before it rests.
	shadowBurst = 2 * time.Millisecond
	// shadowSamples is how many of the newest divergences are kept.
	shadowSamples = 100
)

// Shadow is a candidate policy that decides, beside the active one, what was
// decided and logged, and compares. Nobody waits for it: decisions go to it
// through a bounded queue, and what does not fit is skipped and counted. It uses
// a small share of the machine, so that under load it looks at a part of the
// decisions, and a candidate that is slow looks at few; one that fails or panics
// is counted.
type Shadow struct {
	policy  *Policy
	against *Policy
	counter ShadowCounter
	queue   chan shadowed
	stop    context.CancelFunc
	done    chan struct{}
	skipped atomic.Int64

	mu     sync.Mutex
	report ShadowReport
	counts map[divergence]int64
	next   int // where the next sample goes
}

// shadowed is one decision, with what the policy saw.
type shadowed struct {
	entry *Entry
	doc   ast.Value
	facts Facts
}

// divergence is what is counted together.
type divergence struct {
	actionType     string
	active, shadow Decision
}

// ShadowCounter counts over the life of a process. Its methods are called by
// many goroutines and must not block.
type ShadowCounter interface {
	Evaluated(active, shadow Decision, agrees bool)
	Failed()
	Skipped()
}

// ShadowReport is what a shadow has seen on this gate.
type ShadowReport struct {
	Since     time.Time
	Shadow    PolicyID
	Active    PolicyID // what it is compared with
	Evaluated int64    // of these:
	Agreed    int64    // same decision by the same rule
	Diverged  int64
	Failed    int64  // gave no usable verdict in time
	LastError string // of the newest that failed
	Skipped   int64  // not evaluated, because that would have cost too much

	Divergences []Divergence   // most frequent first
	Samples     []ShadowSample // of the newest divergences, newest first
}

// Divergence counts decisions that the shadow would have made otherwise. Where
// Active and Shadow are the same, another rule made it.
type Divergence struct {
	ActionType     string // "(unknown)" for all that neither action table has
	Active, Shadow Decision
	Count          int64
}

// ShadowSample is one decision that the shadow would have made otherwise.
type ShadowSample struct {
	DecisionID, TenantID, ActionType string
	Active, Shadow                   Decision
	ActiveRule, ShadowRule           string
	DecidedAt                        time.Time
}

// NewShadow starts a candidate beside the active policy. Give it to
// Gate.Shadow, and Close it when another takes its place.
func NewShadow(candidate, active *Policy, counter ShadowCounter) *Shadow {
	ctx, stop := context.WithCancel(context.Background())
	s := &Shadow{
		policy: candidate, against: active, counter: counter, queue: make(chan shadowed, shadowQueue), stop: stop, done: make(chan struct{}),
		report: ShadowReport{Since: time.Now().UTC(), Shadow: candidate.ID(), Active: active.ID()}, counts: map[divergence]int64{},
	}
	share := min(0.5, shadowShare*float64(runtime.GOMAXPROCS(0)))
	go s.work(ctx, share)
	return s
}

// Close ends the work. What waits is dropped.
func (s *Shadow) Close() {
	s.stop()
	<-s.done
}

// Shadow makes s look at every decision from now on; nil: nobody does.
func (g *Gate) Shadow(s *Shadow) { g.shadow.Store(s) }

// offer never blocks.
func (s *Shadow) offer(d shadowed) {
	select {
	case s.queue <- d:
	default:
		s.skipped.Add(1)
		s.counter.Skipped()
	}
}

// work judges what waits, and rests so long after each burst that its share of
// one processor is not exceeded.
func (s *Shadow) work(ctx context.Context, share float64) {
	defer close(s.done)
	var busy time.Duration
	rest := time.NewTimer(0)
	<-rest.C
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.queue:
			began := time.Now()
			s.judge(ctx, d)
			busy += time.Since(began)
		}
		if busy < shadowBurst {
			continue
		}
		rest.Reset(time.Duration(float64(busy)/share) - busy)
		busy = 0
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
	}
}

func (s *Shadow) judge(ctx context.Context, d shadowed) {
	e := d.entry
	if e.Policy != s.against.id { // decided while the active policy changed
		return
	}
	v, err := s.decide(ctx, d)
	if ctx.Err() != nil {
		return
	}
	agrees := err == nil && v.Decision == e.Decision && v.Rule == e.Rule
	if err != nil {
		s.counter.Failed()
	} else {
		s.counter.Evaluated(e.Decision, v.Decision, agrees)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.report
	r.Evaluated++
	switch {
	case err != nil:
		r.Failed++
		r.LastError = err.Error()
	case agrees:
		r.Agreed++
	default:
		r.Diverged++
		s.counts[divergence{s.known(e.ActionType), e.Decision, v.Decision}]++
		sample := ShadowSample{e.DecisionID, e.TenantID, e.ActionType, e.Decision, v.Decision, e.Rule, v.Rule, e.DecidedAt}
		if len(r.Samples) < shadowSamples {
			r.Samples = append(r.Samples, sample)
		} else {
			r.Samples[s.next] = sample
		}
		s.next = (s.next + 1) % shadowSamples
	}
}

// decide gives the candidate the very document that the active policy saw,
// unless it reads parameters and the active one does not.
func (s *Shadow) decide(ctx context.Context, d shadowed) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: it panicked: %v", ErrPolicy, p)
		}
	}()
	doc := d.doc
	if s.policy.readsParameters && !s.against.readsParameters && d.entry.Parameters != nil {
		_, doc = newInput(&d.entry.Request, &d.facts, d.entry.DecidedAt, true)
	}
	return s.policy.Decide(ctx, doc)
}

// known keeps the number of counters bounded: callers can make up action types.
func (s *Shadow) known(actionType string) string {
	for _, p := range []*Policy{s.policy, s.against} {
		if _, ok := p.actionByType[actionType]; ok {
			return actionType
		}
	}
	return "(unknown)"
}

// Report returns what was seen so far.
func (s *Shadow) Report() ShadowReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Skipped = s.skipped.Load()
	r.Samples = slices.Clone(r.Samples)
	if len(r.Samples) == shadowSamples { // a ring: the oldest is at next
		r.Samples = append(r.Samples[s.next:], r.Samples[:s.next]...)
	}
	slices.Reverse(r.Samples)
	for _, d := range slices.Collect(maps.Keys(s.counts)) {
		r.Divergences = append(r.Divergences, Divergence{d.actionType, d.active, d.shadow, s.counts[d]})
	}
	slices.SortFunc(r.Divergences, func(a, b Divergence) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.ActionType, b.ActionType), cmp.Compare(a.Active, b.Active), cmp.Compare(a.Shadow, b.Shadow))
	})
	return r
}
