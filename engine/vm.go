package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

var errStop = errors.New("stop") // ends an iteration; never leaves this package

// maxCallDepth bounds recursion. Rego allows none, so that only a very deep
// chain of rules comes near it.
const maxCallDepth = 256

// vm is the state of one evaluation of a plan. It is pooled.
type vm struct {
	stack  []*ast.Term // locals of all active calls
	memo   []memo      // by index of the function
	depth  int
	frames []frame

	input, data *ast.Term
	operands    [8]*ast.Term
	output      *ast.Term // what the last builtin gave
	collect     func(*ast.Term) error
	context     topdown.BuiltinContext

	trace   *trace // of a plan made for tracing
	results int
	result  *ast.Term
	err     error
}

type memo struct {
	known bool
	value *ast.Term
}

// frame is one active call.
type frame struct {
	vm     *vm
	locals []*ast.Term
	result *ast.Term
}

var vmPool = sync.Pool{New: func() any {
	m := &vm{stack: make([]*ast.Term, 0, 1024), frames: make([]frame, maxCallDepth)}
	m.collect = func(t *ast.Term) error { m.output = t; return nil }
	return m
}}

// eval runs the plan on an input; the result is nil when the decision is
// undefined. tr is for a plan made for tracing, and nil for others.
func (p *plan) eval(ctx context.Context, input ast.Value, cancel topdown.Cancel, tr *trace) (*ast.Term, error) {
	m := vmPool.Get().(*vm)
	defer m.giveBack()
	if len(m.memo) < p.count {
		m.memo = make([]memo, p.count)
	}
	m.input, m.data = ast.NewTerm(input), p.data
	m.context = topdown.BuiltinContext{Context: ctx, Cancel: cancel, Seed: noSeed{}, Time: noClock}
	if m.trace = tr; tr != nil {
		tr.watch(m.input, whole, "input")
	}
	m.call(p.entry, nil, nil)
	if m.err != nil {
		return nil, m.err
	}
	if m.results > 1 {
		return nil, fmt.Errorf("data.gate.decision has %d values", m.results)
	}
	return member(m.result, resultKey), nil
}

var (
	resultKey = ast.StringTerm("result")
	noClock   = ast.NumberTerm("0")
)

func (m *vm) giveBack() {
	clear(m.stack[:cap(m.stack)])
	clear(m.memo)
	clear(m.operands[:])
	m.stack, m.depth = m.stack[:0], 0
	m.input, m.data, m.output, m.result, m.err, m.results, m.trace = nil, nil, nil, nil, nil, 0, nil
	m.context = topdown.BuiltinContext{}
	vmPool.Put(m)
}

// call runs a function and returns its value, nil when undefined. caller and
// args are nil for the entrypoint.
func (m *vm) call(fn *function, caller *frame, args []func(*frame) *ast.Term) *ast.Term {
	if m.trace != nil && m.trace.memo != nil {
		return m.remembered(fn, caller, args)
	}
	if fn.memo && m.memo[fn.index].known {
		return m.memo[fn.index].value
	}
	return m.run(fn, caller, args)
}

// run is call for a function whose value is not known.
func (m *vm) run(fn *function, caller *frame, args []func(*frame) *ast.Term) *ast.Term {
	if m.depth == maxCallDepth {
		m.fail(errors.New("rules call each other too deeply"))
		return nil
	}
	if m.cancelled() {
		return nil
	}
	base := len(m.stack)
	if base+fn.locals <= cap(m.stack) {
		m.stack = m.stack[:base+fn.locals]
	} else {
		m.stack = append(m.stack, make([]*ast.Term, fn.locals)...)
	}
	f := &m.frames[m.depth]
	f.vm, f.locals, f.result = m, m.stack[base:base+fn.locals:base+fn.locals], nil
	if args == nil {
		f.locals[fn.params[0]], f.locals[fn.params[1]] = m.input, m.data
	}
	for i, arg := range args {
		f.locals[fn.params[i]] = arg(caller)
	}
	m.depth++
	for i, b := range fn.blocks {
		sig := run(b, f)
		if m.trace != nil && sig == next && fn.places[i] != "" {
			m.trace.Held[fn.places[i]] = true
		}
		if sig < 0 {
			break
		}
	}
	m.depth--
	result := f.result
	clear(f.locals)
	m.stack = m.stack[:base]
	if fn.memo && m.err == nil {
		m.memo[fn.index] = memo{true, result}
	}
	return result
}

// builtin calls one of OPA's builtins. An error ends the evaluation: a builtin
// that fails must not look like one that is undefined.
func (m *vm) builtin(name string, fn topdown.BuiltinFunc, f *frame, args []func(*frame) *ast.Term) *ast.Term {
	if len(args) > len(m.operands) {
		m.fail(fmt.Errorf("%s: too many arguments", name))
		return nil
	}
	for i, arg := range args {
		m.operands[i] = arg(f)
	}
	m.output = nil
	if err := fn(m.context, m.operands[:len(args)], m.collect); err != nil {
		m.fail(fmt.Errorf("%s: %w", name, err))
		return nil
	}
	return m.output
}

// cancelled reports whether the evaluation was given up, and says so.
func (m *vm) cancelled() bool {
	if m.err == nil && m.context.Cancel != nil && m.context.Cancel.Cancelled() {
		m.fail(errLate)
	}
	return m.err != nil
}

var errLate = fmt.Errorf("the evaluation took longer than %s", EvalTimeout)

func (m *vm) fail(err error) signal {
	if m.err == nil {
		m.err = err
	}
	return aborted
}
