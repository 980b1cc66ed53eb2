package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Part is one of the independent parts of an input document.
type Part int

// The parts.
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
	SightOrder    SightKind = "order"  // of texts
	SightMember   SightKind = "member" // of an object: the key
	SightPrefix   SightKind = "prefix"
	SightSuffix   SightKind = "suffix"
	SightContains SightKind = "contains"
	SightNetwork  SightKind = "network"
	SightPattern  SightKind = "pattern" // a regular expression
	SightFunction SightKind = "function"
	// SightTransform is a builtin that makes a value of another that is as fine or
	// coarser, so that constants still tell where the part is cut.
	SightTransform SightKind = "transform"
	// SightWhole is a comparison with a whole collection.
	SightWhole SightKind = "whole"
	// SightRelation is two parts of one request, held against each other.
	SightRelation SightKind = "relation"
)

// Sides are on which sides of a constant the values were that were held against
// it. Equal is also "yes" to a prefix, a network and the like, and Below "no";
// only what was put in order is Above.
type Sides uint8

// The sides.
const (
	Equal Sides = 1 << iota
	Below
	Above
)

// Sight is a constant that a policy held a part of the input against, or a
// builtin that it gave the part to. Constants that come from the input itself,
// such as those in constraints, are no sights.
type Sight struct {
	Part Part
	Kind SightKind
	Text string // the constant; for SightFunction and SightTransform the builtin's name
	With string // the constants that the builtin was given besides
}

// Trace is what one evaluation read. Two inputs that agree in every part read
// get the same verdict, because evaluation is a pure function of what it reads.
//
// Of the action type only what sets it apart from others of its blast radius
// counts as reading it. Looking up its radius does not, nor comparing it with
// the action type of a whitelist entry, nor naming it in the rationale: so two
// inputs that differ in action types of one radius, and agree in the rest, get
// the same verdict but for the name in its rationale, provided that their
// whitelist entries are for the action type asked about, or not, alike.
type Trace struct {
	Reads  []Part // in the order in which they were first read
	Sights map[Sight]Sides
	// Loose: the action type was used in a way of which no sight tells which
	// types it sets apart.
	Loose bool
	// Held are the rules that held, by file and line; see Tracer.Rules.
	Held map[string]bool
	// Unknown are paths that were read and that the input does not have:
	// parts of the request that are not traced, or that no gate sends.
	Unknown []string
}

// Tracer decides as a Policy does and tells what each evaluation read. It is
// slower by a factor of about three. It is safe for concurrent use.
type Tracer struct {
	policy  *Policy
	plan    *plan
	actions *ast.Term // the action table
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
	actions := member(member(traced.data, ast.StringTerm("gate")), ast.StringTerm("actions"))
	return &Tracer{policy: p, plan: traced, actions: actions}, nil
}

// Rules lists where the bundle's rules are written, as file:line: the bodies of
// those that can hold or not. One line may be listed more than once.
func (t *Tracer) Rules() []string { return t.plan.places() }

// Policy is the policy that is traced.
func (t *Tracer) Policy() *Policy { return t.policy }

// Decide decides r under facts at now, as Policy.Decide does, and tells what
// was read. The guards read the radius, the tier and the stop. With an
// error, the verdict is what the policy said, as far as it can be read.
//
// An evaluation that runs out of time is tried again, because what it says must
// not depend on how busy the machine is: ErrTooSlow is for one that did so
// maxSlow times in a row.
func (t *Tracer) Decide(ctx context.Context, r *Request, f *Facts, now time.Time) (Verdict, Trace, error) {
	v, tr, err := t.decide(ctx, r, f, now, nil, nil)
	return v, tr.Trace, err
}

// guarded are the parts that the guards read.
var guarded = []Part{PartTier, PartStopped}

func (t *Tracer) decide(ctx context.Context, r *Request, f *Facts, now time.Time, m *Memo, at *Place) (v Verdict, tr *trace, err error) {
	_, doc := newInput(r, f, now, false)
	for try := 1; ; try++ {
		var late bool
		if tr = newTrace(doc, t.actions); m != nil {
			tr.memo, tr.at, tr.active, tr.rules = m, at, &recording{}, map[*memo][]observed{}
		}
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
	for _, p := range guarded {
		tr.read(p)
	}
	return v, tr, err
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
