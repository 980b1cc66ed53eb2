package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
	"github.com/open-policy-agent/opa/v1/ir"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// OPA compiles a bundle into a plan: functions of simple statements over
// numbered locals, the same that its WebAssembly backend takes. This file turns
// the plan into Go closures, once per bundle, and vm.go runs them. The planner
// and the builtins are OPA's; only the loop that executes statements is ours,
// and it does in about a tenth of the time what topdown does.
//
// topdown stays the reference. A bundle is activated only if both agree on
// every try (see tryOut), tests compare them on tens of thousands of inputs,
// and a bundle whose plan uses what is not here, such as a builtin that is no
// plain function, runs on topdown.

// errUnsupported: the plan needs a statement that this file does not have.
var errUnsupported = errors.New("statement is not supported")

// A step executes one statement. Its result says where to go on.
type step func(*frame) signal

// signal is how a statement ends. Zero goes on with the next statement; n > 0
// leaves n enclosing blocks, so that 1 is what an undefined statement does.
type signal int

const (
	next      signal = 0
	undefined signal = 1
	returned  signal = -1 // the function has its result
	aborted   signal = -2 // the evaluation failed; vm.err says why
)

// function is a compiled rule or function of the policy.
type function struct {
	index  int
	params []int
	locals int
	blocks [][]step
	// places are where the rules are written that the blocks are of; empty for
	// blocks that are no rule's body, and without a trace.
	places []string
	// memo: the function takes input and data only, so its value is the same
	// throughout an evaluation and is kept.
	memo bool
}

// plan is a compiled bundle.
type plan struct {
	entry *function
	data  *ast.Term
	count int // of functions

	functions []*function // of a plan made for tracing
}

const entrypoint = "gate/decision"

// newPlan compiles the bundle's modules for the entrypoint, with trace so that
// every evaluation must be given a trace to tell what it reads.
func newPlan(ctx context.Context, src PolicySource, data ast.Value, trace bool) (*plan, error) {
	b := &bundle.Bundle{Manifest: bundle.Manifest{Roots: &[]string{""}}, Data: map[string]any{}}
	for path, m := range src.Modules {
		b.Modules = append(b.Modules, bundle.ModuleFile{URL: path, Path: path, RelativePath: path, Parsed: m.Copy(), Raw: []byte(m.String())})
	}
	c := compile.New().WithBundle(b).WithTarget(compile.TargetPlan).WithEntrypoints(entrypoint).
		WithCapabilities(Capabilities()).WithRegoVersion(ast.RegoV1)
	if err := c.Build(ctx); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if len(c.Bundle().PlanModules) != 1 {
		return nil, errors.New("plan: OPA made no plan")
	}
	var policy ir.Policy
	if err := json.Unmarshal(c.Bundle().PlanModules[0].Raw, &policy); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return compilePlan(&policy, ast.NewTerm(data), trace)
}

// planner holds what compiling a plan needs to know.
type planner struct {
	strings   []*ast.Term
	files     []string
	text      []string
	functions map[string]*function
	byPath    map[string]*function // path joined by NUL; for calls by a path
	paths     [][]string           // of functions
	trace     bool
}

func compilePlan(p *ir.Policy, data *ast.Term, trace bool) (*plan, error) {
	c := &planner{functions: map[string]*function{}, byPath: map[string]*function{}, trace: trace}
	for _, s := range p.Static.Strings {
		c.strings = append(c.strings, ast.StringTerm(s.Value))
		c.text = append(c.text, s.Value)
	}
	for _, f := range p.Static.Files {
		c.files = append(c.files, f.Value)
	}
	for i, f := range p.Funcs.Funcs {
		fn := &function{index: i, memo: len(f.Params) == 2}
		for _, l := range f.Params {
			fn.params = append(fn.params, int(l))
		}
		c.functions[f.Name] = fn
		c.byPath[strings.Join(f.Path, "\x00")] = fn
		c.paths = append(c.paths, f.Path)
	}
	for _, f := range p.Funcs.Funcs {
		if err := c.function(c.functions[f.Name], f.Blocks); err != nil {
			return nil, fmt.Errorf("plan: %s: %w", f.Name, err)
		}
	}
	for _, entry := range p.Plans.Plans {
		if entry.Name == entrypoint {
			fn := &function{index: len(p.Funcs.Funcs), params: []int{int(ir.Input), int(ir.Data)}}
			if err := c.function(fn, entry.Blocks); err != nil {
				return nil, fmt.Errorf("plan: %s: %w", entry.Name, err)
			}
			out := &plan{entry: fn, data: data, count: fn.index + 1}
			if trace {
				out.functions = slices.Collect(maps.Values(c.functions))
			}
			return out, nil
		}
	}
	return nil, fmt.Errorf("plan: no entrypoint %s", entrypoint)
}

func (c *planner) function(fn *function, blocks []*ir.Block) error {
	w := &writer{planner: c, constants: constantsOf(c, blocks)}
	for _, b := range blocks {
		steps, err := w.block(b)
		if err != nil {
			return err
		}
		fn.blocks = append(fn.blocks, steps)
		if c.trace {
			fn.places = append(fn.places, c.place(b))
		}
	}
	fn.locals = w.highest + 1
	for _, p := range fn.params {
		fn.locals = max(fn.locals, p+1)
	}
	return nil
}

// place is file and line of the rule whose body a block is: of its first
// statement that has one. A default, which stands in where nothing else holds,
// has none.
func (c *planner) place(b *ir.Block) string {
	if len(b.Stmts) == 1 {
		if _, begins := made(b.Stmts[0]); begins {
			return "" // the empty set or object that the rule's bodies add to
		}
	}
	for _, s := range b.Stmts {
		switch s.(type) {
		case *ir.IsUndefinedStmt, *ir.ReturnLocalStmt:
			return ""
		}
		if l := s.GetLocation(); l != nil && l.Row > 0 && l.File >= 0 && l.File < len(c.files) {
			return fmt.Sprintf("%s:%d", c.files[l.File], l.Row)
		}
	}
	return ""
}

// places lists the places of all rules' bodies.
func (p *plan) places() (list []string) {
	for _, fn := range p.functions {
		for _, place := range fn.places {
			if place != "" {
				list = append(list, place)
			}
		}
	}
	return list
}

// writer compiles the statements of one function.
type writer struct {
	*planner
	constants map[ir.Local]*ast.Term // literals that were folded
	highest   int                    // local in use
}

func (w *writer) local(l ir.Local) int {
	w.highest = max(w.highest, int(l))
	return int(l)
}

func (w *writer) block(b *ir.Block) ([]step, error) {
	steps := make([]step, 0, len(b.Stmts))
	for _, s := range b.Stmts {
		f, err := w.statement(s)
		if err != nil {
			return nil, err
		}
		if w.trace {
			f = w.traced(s, f)
		}
		if f != nil {
			steps = append(steps, f)
		}
	}
	return steps, nil
}

// source reads an operand.
func (w *writer) source(o ir.Operand) func(*frame) *ast.Term {
	switch v := value(o).(type) {
	case ir.Local:
		i := w.local(v)
		return func(f *frame) *ast.Term { return f.locals[i] }
	case ir.StringIndex:
		t := w.strings[v]
		return func(*frame) *ast.Term { return t }
	case ir.Bool:
		t := ast.InternedTerm(bool(v))
		return func(*frame) *ast.Term { return t }
	}
	return func(*frame) *ast.Term { return nil }
}

// value is an operand's value. Read from JSON, it is a pointer.
func value(o ir.Operand) ir.Val {
	switch v := o.Value.(type) {
	case *ir.Local:
		return *v
	case *ir.StringIndex:
		return *v
	case *ir.Bool:
		return *v
	}
	return o.Value
}

// call compiles a call of a function of the policy or a builtin.
func (w *writer) call(s *ir.CallStmt) (step, error) {
	args := make([]func(*frame) *ast.Term, len(s.Args))
	for i, a := range s.Args {
		args[i] = w.source(a)
	}
	i := w.local(s.Result)
	result := func(f *frame, v *ast.Term) signal {
		if f.vm.err != nil {
			return aborted
		}
		if f.locals[i] = v; v == nil {
			return undefined
		}
		return next
	}
	if fn, ok := w.functions[s.Func]; ok {
		return func(f *frame) signal { return result(f, f.vm.call(fn, f, args)) }, nil
	}
	builtin, name := topdown.GetBuiltin(s.Func), s.Func
	if builtin == nil {
		return nil, fmt.Errorf("%w: builtin %s", errUnsupported, name)
	}
	return func(f *frame) signal { return result(f, f.vm.builtin(name, builtin, f, args)) }, nil
}
