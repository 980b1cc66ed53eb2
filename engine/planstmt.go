package engine

import (
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// statement compiles one statement. nil means that it was folded away.
func (w *writer) statement(s ir.Stmt) (step, error) {
	switch s := s.(type) {
	case *ir.CallStmt:
		return w.call(s)
	case *ir.BlockStmt:
		return w.nested(s)
	case *ir.ScanStmt:
		return w.scan(s)
	case *ir.NotStmt:
		return w.not(s)
	case *ir.WithStmt:
		return w.with(s)
	case *ir.CallDynamicStmt:
		return w.callDynamic(s)
	case *ir.ObjectMergeStmt:
		a, b, i := w.local(s.A), w.local(s.B), w.local(s.Target)
		return func(f *frame) signal { f.locals[i] = merge(f.locals[a], f.locals[b]); return next }, nil
	case *ir.BreakStmt:
		n := signal(s.Index) + 1
		return func(*frame) signal { return n }, nil
	case *ir.ReturnLocalStmt:
		i := w.local(s.Source)
		return func(f *frame) signal { f.result = f.locals[i]; return returned }, nil
	case *ir.ResultSetAddStmt:
		i := w.local(s.Value)
		return func(f *frame) signal { f.vm.results++; f.vm.result = f.locals[i]; return next }, nil
	case *ir.NopStmt:
		return nil, nil
	case *ir.AssignVarStmt, *ir.AssignVarOnceStmt, *ir.AssignIntStmt, *ir.ResetLocalStmt:
		return w.assign(s)
	case *ir.MakeNullStmt, *ir.MakeNumberIntStmt, *ir.MakeNumberRefStmt, *ir.MakeArrayStmt, *ir.MakeObjectStmt, *ir.MakeSetStmt,
		*ir.ArrayAppendStmt, *ir.ObjectInsertStmt, *ir.ObjectInsertOnceStmt, *ir.SetAddStmt:
		return w.construct(s)
	case *ir.DotStmt, *ir.LenStmt, *ir.EqualStmt, *ir.NotEqualStmt,
		*ir.IsArrayStmt, *ir.IsObjectStmt, *ir.IsSetStmt, *ir.IsDefinedStmt, *ir.IsUndefinedStmt:
		return w.inspect(s)
	}
	return nil, fmt.Errorf("%w: %T", errUnsupported, s)
}

// run executes the statements of one block.
func run(steps []step, f *frame) signal {
	for _, s := range steps {
		if sig := s(f); sig != next {
			return sig
		}
	}
	return next
}

// nested runs blocks one after the other; each ends by itself.
func (w *writer) nested(s *ir.BlockStmt) (step, error) {
	blocks := make([][]step, len(s.Blocks))
	for i, b := range s.Blocks {
		var err error
		if blocks[i], err = w.block(b); err != nil {
			return nil, err
		}
	}
	return func(f *frame) signal {
		for _, b := range blocks {
			switch sig := run(b, f); {
			case sig < 0:
				return sig
			case sig > 1:
				return sig - 1
			}
		}
		return next
	}, nil
}

// scan runs its block for every element. In the block, leaving one level goes
// on with the next element and leaving two ends the scan.
func (w *writer) scan(s *ir.ScanStmt) (step, error) {
	source, key, value := w.local(s.Source), w.local(s.Key), w.local(s.Value)
	body, err := w.block(s.Block)
	if err != nil {
		return nil, err
	}
	return func(f *frame) signal {
		if f.locals[source] == nil {
			return next
		}
		sig := next
		each := func(k, v *ast.Term) bool { // true ends the scan
			if f.vm.cancelled() {
				sig = aborted
				return true
			}
			f.locals[key], f.locals[value] = k, v
			switch s := run(body, f); {
			case s < 0:
				sig = s
				return true
			case s > 1:
				sig = s - 2
				return true
			}
			return false
		}
		switch v := f.locals[source].Value.(type) {
		case *ast.Array:
			for i := range v.Len() {
				if each(ast.InternedTerm(i), v.Elem(i)) {
					break
				}
			}
		case ast.Object:
			_ = v.Iter(func(k, v *ast.Term) error { return stopIf(each(k, v)) })
		case ast.Set:
			_ = v.Iter(func(t *ast.Term) error { return stopIf(each(t, t)) })
		}
		return sig
	}, nil
}

func stopIf(stop bool) error {
	if stop {
		return errStop
	}
	return nil
}

// not is undefined when its block ran to the end.
func (w *writer) not(s *ir.NotStmt) (step, error) {
	body, err := w.block(s.Block)
	if err != nil {
		return nil, err
	}
	return func(f *frame) signal {
		switch sig := run(body, f); {
		case sig < 0:
			return sig
		case sig == next:
			return undefined
		default:
			return sig - 1
		}
	}, nil
}

func (w *writer) assign(s ir.Stmt) (step, error) {
	switch s := s.(type) {
	case *ir.AssignVarStmt:
		source, i := w.source(s.Source), w.local(s.Target)
		return func(f *frame) signal { f.locals[i] = source(f); return next }, nil
	case *ir.AssignVarOnceStmt:
		source, i := w.source(s.Source), w.local(s.Target)
		return func(f *frame) signal {
			v := source(f)
			if old := f.locals[i]; old != nil && !same(old, v) {
				return f.vm.fail(fmt.Errorf("rule has conflicting values: %s and %s", old, v))
			}
			f.locals[i] = v
			return next
		}, nil
	case *ir.AssignIntStmt:
		t, i := ast.NumberTerm(json.Number(fmt.Sprint(s.Value))), w.local(s.Target)
		return func(f *frame) signal { f.locals[i] = t; return next }, nil
	case *ir.ResetLocalStmt:
		i := w.local(s.Target)
		return func(f *frame) signal { f.locals[i] = nil; return next }, nil
	}
	return nil, fmt.Errorf("%w: %T", errUnsupported, s)
}

func (w *writer) inspect(s ir.Stmt) (step, error) {
	when := func(source ir.Operand, test func(*ast.Term) bool) (step, error) {
		get := w.source(source)
		return func(f *frame) signal {
			if test(get(f)) {
				return next
			}
			return undefined
		}, nil
	}
	switch s := s.(type) {
	case *ir.DotStmt:
		source, key, i := w.source(s.Source), w.source(s.Key), w.local(s.Target)
		return func(f *frame) signal {
			if f.locals[i] = member(source(f), key(f)); f.locals[i] == nil {
				return undefined
			}
			return next
		}, nil
	case *ir.LenStmt:
		source, i := w.source(s.Source), w.local(s.Target)
		return func(f *frame) signal { f.locals[i] = ast.InternedTerm(length(source(f))); return next }, nil
	case *ir.EqualStmt:
		a, b := w.source(s.A), w.source(s.B)
		return func(f *frame) signal {
			if same(a(f), b(f)) {
				return next
			}
			return undefined
		}, nil
	case *ir.NotEqualStmt:
		a, b := w.source(s.A), w.source(s.B)
		return func(f *frame) signal {
			if same(a(f), b(f)) {
				return undefined
			}
			return next
		}, nil
	case *ir.IsArrayStmt:
		return when(s.Source, func(t *ast.Term) bool { return isA[*ast.Array](t) })
	case *ir.IsObjectStmt:
		return when(s.Source, func(t *ast.Term) bool { return isA[ast.Object](t) })
	case *ir.IsSetStmt:
		return when(s.Source, func(t *ast.Term) bool { return isA[ast.Set](t) })
	case *ir.IsDefinedStmt:
		return when(ir.Operand{Value: s.Source}, func(t *ast.Term) bool { return t != nil })
	case *ir.IsUndefinedStmt:
		return when(ir.Operand{Value: s.Source}, func(t *ast.Term) bool { return t == nil })
	}
	return nil, fmt.Errorf("%w: %T", errUnsupported, s)
}

func isA[T ast.Value](t *ast.Term) bool {
	if t == nil {
		return false
	}
	_, ok := t.Value.(T)
	return ok
}

// same compares as Rego's == does; an undefined value equals only itself.
func same(a, b *ast.Term) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	if x, ok := a.Value.(ast.String); ok {
		y, ok := b.Value.(ast.String)
		return ok && x == y
	}
	return ast.Compare(a.Value, b.Value) == 0
}

// member looks a key up in a collection; nil where there is none.
func member(of, key *ast.Term) *ast.Term {
	if of == nil || key == nil {
		return nil
	}
	switch v := of.Value.(type) {
	case ast.Object:
		return v.Get(key)
	case *ast.Array:
		return v.Get(key)
	case ast.Set:
		if v.Contains(key) {
			return key
		}
	}
	return nil
}

func length(t *ast.Term) int {
	if t == nil {
		return 0
	}
	switch v := t.Value.(type) {
	case *ast.Array:
		return v.Len()
	case ast.Object:
		return v.Len()
	case ast.Set:
		return v.Len()
	}
	return 0
}
