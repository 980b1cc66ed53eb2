package engine

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// with runs its block with another value somewhere in input or data, and is
// undefined where the block is.
func (w *writer) with(s *ir.WithStmt) (step, error) {
	i, value := w.local(s.Local), w.source(s.Value)
	path := make([]*ast.Term, len(s.Path))
	for k, name := range s.Path {
		path[k] = w.strings[name]
	}
	body, err := w.block(s.Block)
	if err != nil {
		return nil, err
	}
	return func(f *frame) signal {
		was, memos := f.locals[i], f.vm.memo
		f.locals[i] = upsert(was, path, value(f))
		if f.vm.trace != nil && len(path) > 0 {
			f.vm.trace.replaced(was, f.locals[i])
		}
		f.vm.memo = make([]memo, len(memos)) // what was remembered is of the other input
		sig := run(body, f)
		f.locals[i], f.vm.memo = was, memos
		if sig > undefined {
			return sig - 1
		}
		return sig
	}, nil
}

// upsert copies the objects along the path, makes those that are missing, and
// puts value at its end.
func upsert(t *ast.Term, path []*ast.Term, value *ast.Term) *ast.Term {
	if len(path) == 0 {
		return value
	}
	copied := ast.NewObject()
	if t != nil {
		if o, ok := t.Value.(ast.Object); ok {
			o.Foreach(func(k, v *ast.Term) { copied.Insert(k, v) })
		}
	}
	copied.Insert(path[0], upsert(copied.Get(path[0]), path[1:], value))
	return ast.NewTerm(copied)
}

// merge joins two objects member by member; where they disagree, a's counts.
func merge(a, b *ast.Term) *ast.Term {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	x, isX := a.Value.(ast.Object)
	y, isY := b.Value.(ast.Object)
	if !isX || !isY {
		return a
	}
	out := ast.NewObject()
	x.Foreach(func(k, v *ast.Term) { out.Insert(k, merge(v, y.Get(k))) })
	y.Foreach(func(k, v *ast.Term) {
		if x.Get(k) == nil {
			out.Insert(k, v)
		}
	})
	return ast.NewTerm(out)
}

// callDynamic calls the function at a path that is known only now. Where there
// is none it is undefined, and the plan goes on to look into data; where there
// is one that is undefined, so is all that the plan built around the call.
func (w *writer) callDynamic(s *ir.CallDynamicStmt) (step, error) {
	args := make([]func(*frame) *ast.Term, len(s.Args))
	for i, a := range s.Args {
		args[i] = w.source(ir.Operand{Value: a})
	}
	path := make([]func(*frame) *ast.Term, len(s.Path))
	for i, p := range s.Path {
		path[i] = w.source(p)
	}
	i, byPath := w.local(s.Result), w.byPath
	const undefinedAround = signal(4)
	return func(f *frame) signal {
		names := make([]string, len(path))
		for k, p := range path {
			t := p(f)
			if t == nil {
				return undefined
			}
			name, ok := t.Value.(ast.String)
			if !ok {
				return undefined
			}
			names[k] = string(name)
		}
		fn, ok := byPath[strings.Join(names, "\x00")]
		if !ok {
			return undefined
		}
		f.locals[i] = f.vm.call(fn, f, args)
		switch {
		case f.vm.err != nil:
			return aborted
		case f.locals[i] == nil:
			return undefinedAround
		}
		return next
	}, nil
}
