package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Part is one of the independent parts of an input document.
type Part int

// The parts. Whoever reads Whitelist has read ActionType, too: the entries that
// the gate puts into an input depend on it.
const (
	PartActionType Part = iota
	PartTier
	PartStopped
	PartOverrides
	PartWhitelist
	PartTarget
	PartConfidence
	PartActor
	PartTenantID
	PartNow
	Parts int = iota // how many there are
)

var partPaths = [Parts]string{
	"input.request.action_type", "input.tenant.maturity_tier", "input.tenant.stopped", "input.overrides", "input.whitelist",
	"input.request.target", "input.request.confidence", "input.request.actor", "input.tenant.id", "input.now",
}

// String is the part's path in the input document.
func (p Part) String() string { return partPaths[p] }

// SightKind says how a policy looked at a part.
type SightKind string

// The kinds of sights. SightFunction is a builtin that cuts the part's values in
// a way that its constants do not tell.
const (
	SightEqual    SightKind = "equal"
	SightNumber   SightKind = "number"
	SightPrefix   SightKind = "prefix"
	SightSuffix   SightKind = "suffix"
	SightContains SightKind = "contains"
	SightNetwork  SightKind = "network"
	SightFunction SightKind = "function"
)

// Sight is a constant that a policy held a part of the input against, or a
// builtin that it gave the part to. Constants that come from the input itself,
// such as those in constraints, are no sights.
type Sight struct {
	Part Part
	Kind SightKind
	Text string // the constant; for SightFunction the builtin's name
}

// Trace is what one evaluation read. Two inputs that agree in every part read
// get the same verdict, because evaluation is a pure function of what it reads.
type Trace struct {
	Reads  []Part  // in the order in which they were first read
	Sights []Sight // without repetition
	// Unknown are paths that were read and that the input does not have:
	// parts of the request that are not traced, or that no gate sends.
	Unknown []string
}

// Tracer decides as a Policy does and tells what each evaluation read. It is
// slower, with sights by a factor of about three. It is safe for concurrent use.
type Tracer struct {
	policy *Policy
	plan   *plan
}

// ErrNoTrace: the bundle's plan uses statements that only OPA's own evaluator
// has, so that nobody can tell what an evaluation reads.
var ErrNoTrace = errors.New("evaluations of this bundle cannot be traced")

// NewTracer compiles a bundle for tracing. It does not try it out, so that what
// is wrong with it can be shown. Returns ErrNoTrace where it cannot be traced.
func NewTracer(ctx context.Context, src PolicySource) (*Tracer, error) {
	p, err := CompilePolicy(ctx, src)
	if err != nil {
		return nil, err
	}
	return p.tracer(ctx, src)
}

func (p *Policy) tracer(ctx context.Context, src PolicySource) (*Tracer, error) {
	if p.plan == nil {
		return nil, ErrNoTrace
	}
	data, err := ast.InterfaceToValue(src.Data)
	if err != nil {
		return nil, err
	}
	traced, err := newPlan(ctx, src, data, true)
	if err != nil {
		return nil, err
	}
	return &Tracer{policy: p, plan: traced}, nil
}

// Policy is the policy that is traced.
func (t *Tracer) Policy() *Policy { return t.policy }

// Decide decides r under facts at now, as Policy.Decide does, and tells what
// was read. The guards read the action type, the tier and the stop. With an
// error, the verdict is what the policy said, as far as it can be read. Without
// sights it takes half the time, and the trace has none.
//
// An evaluation that runs out of time is tried again, because what it says must
// not depend on how busy the machine is: ErrTooSlow is for one that did so
// maxSlow times in a row.
func (t *Tracer) Decide(ctx context.Context, r *Request, f *Facts, now time.Time, sights bool) (v Verdict, _ Trace, err error) {
	_, doc := newInput(r, f, now, false)
	var tr *trace
	for try := 1; ; try++ {
		var late bool
		tr = newTrace(doc, sights)
		if v, late, err = t.once(ctx, doc, tr); !late {
			break
		}
		if try == maxSlow {
			err = fmt.Errorf("%w: %w", ErrTooSlow, err)
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	for _, p := range []Part{PartActionType, PartTier, PartStopped} {
		tr.read(p)
	}
	return v, tr.Trace, err
}

const maxSlow = 5

// ErrTooSlow: an evaluation takes longer than EvalTimeout, however often it is
// tried.
var ErrTooSlow = errors.New("too slow")

func (t *Tracer) once(ctx context.Context, doc ast.Value, tr *trace) (v Verdict, late bool, err error) {
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(EvalTimeout, cancel.Cancel)
	defer timer.Stop()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the evaluation panicked: %v", p)
		}
		late = err != nil && cancel.Cancelled()
	}()
	result, err := t.plan.eval(ctx, doc, cancel, tr)
	if err == nil && result == nil {
		err = errors.New("data.gate.decision is undefined")
	}
	if err != nil {
		return v, false, err
	}
	v, err = t.policy.verdict(result, doc)
	return v, false, err
}

// Input writes the input document of a decision, RFC 8785 bytes.
func Input(r *Request, f *Facts, now time.Time) []byte {
	text, _ := newInput(r, f, now, true)
	return text
}

// DecideFacts decides r under facts at now.
func (p *Policy) DecideFacts(ctx context.Context, r *Request, f *Facts, now time.Time) (Verdict, error) {
	_, doc := newInput(r, f, now, p.readsParameters)
	return p.Decide(ctx, doc)
}

// trace collects while a plan runs. Terms are known by identity: the plan
// passes them on as they are.
type trace struct {
	Trace
	composites []composite
	origin     map[*ast.Term]Part // values and what was made of them → the part they come from; nil: no sights
	seen       [Parts]bool
}

// composite is a part of the input that holds others: input, input.request, …
type composite struct {
	term *ast.Term
	path string
}

func newTrace(doc ast.Value, sights bool) *trace {
	t := &trace{composites: make([]composite, 0, 8)}
	if sights {
		t.origin = make(map[*ast.Term]Part, 16)
	}
	o := doc.(ast.Object)
	t.composites = append(t.composites, composite{o.Get(keyRequest), "input.request"}, composite{o.Get(keyTenant), "input.tenant"})
	o.Get(keyOverrides).Value.(*ast.Array).Foreach(func(e *ast.Term) {
		t.composites = append(t.composites, composite{e, "input.overrides[_]"})
	})
	o.Get(keyWhitelist).Value.(*ast.Array).Foreach(func(e *ast.Term) {
		t.composites = append(t.composites, composite{e, "input.whitelist[_]"})
	})
	return t
}

// pathOf is where in the input a composite term is; empty: it is none.
func (t *trace) pathOf(term *ast.Term) string {
	for i := range t.composites {
		if t.composites[i].term == term {
			return t.composites[i].path
		}
	}
	return ""
}

func (t *trace) read(p Part) {
	if !t.seen[p] {
		t.seen[p] = true
		t.Reads = append(t.Reads, p)
	}
}

func (t *trace) unknown(path string) {
	if !slices.Contains(t.Unknown, path) {
		t.Unknown = append(t.Unknown, path)
	}
}

func (t *trace) sight(p Part, kind SightKind, text string) {
	s := Sight{p, kind, text}
	if !slices.Contains(t.Sights, s) {
		t.Sights = append(t.Sights, s)
	}
}

// partOf finds the part at a path such as input.request.target.
func partOf(path string) (Part, bool) {
	i := slices.Index(partPaths[:], path)
	return Part(i), i >= 0
}

// elementKeys are what the gate sends of an override and a whitelist entry.
var elementKeys = map[string]bool{"mode": true, "constraints": true, "expires_at": true, "id": true, "action_type": true}

// dot: the key was looked up in of, and value (nil: undefined) found.
func (t *trace) dot(of, key, value *ast.Term) {
	if of == nil || key == nil {
		return
	}
	path := t.pathOf(of)
	if path == "" && t.origin == nil {
		return
	}
	if path == "" {
		if p, ok := t.origin[of]; ok {
			t.derive(value, p)
		}
		t.lookup(of, key)
		return
	}
	name, ok := key.Value.(ast.String)
	if !ok {
		return
	}
	full := path + "." + string(name)
	switch path {
	case "input.overrides[_]", "input.whitelist[_]":
		part := PartOverrides
		if path == "input.whitelist[_]" {
			part = PartWhitelist
		}
		if !elementKeys[string(name)] {
			t.unknown(full)
		}
		t.derive(value, part)
		return
	}
	if full == "input.request" || full == "input.tenant" {
		return
	}
	p, known := partOf(full)
	if !known {
		t.unknown(full)
		return
	}
	if p == PartWhitelist {
		t.read(PartActionType)
	}
	t.read(p)
	switch p {
	case PartTarget, PartActor, PartActionType, PartConfidence, PartTenantID, PartNow:
		t.derive(value, p)
	}
}

// derive notes that value was made of part p. Truth values are shared and say
// nothing about where they come from.
func (t *trace) derive(value *ast.Term, p Part) {
	if value == nil || t.origin == nil {
		return
	}
	switch v := value.Value.(type) {
	case ast.Boolean, ast.Null:
		return
	case ast.String:
		if v == "" {
			return
		}
	}
	t.origin[value] = p
}

// use: the term is used as a whole, so all that is in it was read.
func (t *trace) use(term *ast.Term) {
	path := t.pathOf(term)
	if path == "" {
		return
	}
	for p, full := range partPaths {
		if len(full) > len(path) && full[:len(path)] == path && full[len(path)] == '.' {
			t.read(Part(p))
		}
	}
	if path == "input" || path == "input.request" {
		t.unknown(path + " as a whole")
	}
}

// children: the elements of a collection are looked at one by one.
func (t *trace) children(of *ast.Term) {
	if of == nil {
		return
	}
	t.use(of)
	p, ok := t.origin[of] // also right for a nil map
	if !ok {
		return
	}
	switch v := of.Value.(type) {
	case *ast.Array:
		v.Foreach(func(e *ast.Term) { t.derive(e, p) })
	case ast.Object:
		v.Foreach(func(k, e *ast.Term) { t.derive(k, p); t.derive(e, p) })
	case ast.Set:
		v.Foreach(func(e *ast.Term) { t.derive(e, p) })
	}
}
