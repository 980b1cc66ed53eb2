package engine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// construct compiles what makes and fills arrays, objects and sets.
func (w *writer) construct(s ir.Stmt) (step, error) {
	if target, isMade := made(s); isMade {
		i := w.local(target)
		if t, folded := w.constants[target]; folded {
			return func(f *frame) signal { f.locals[i] = t; return next }, nil
		}
		switch s := s.(type) {
		case *ir.MakeArrayStmt:
			return func(f *frame) signal { f.locals[i] = ast.ArrayTerm(); return next }, nil
		case *ir.MakeObjectStmt:
			return func(f *frame) signal { f.locals[i] = ast.NewTerm(ast.NewObject()); return next }, nil
		case *ir.MakeSetStmt:
			return func(f *frame) signal { f.locals[i] = ast.NewTerm(ast.NewSet()); return next }, nil
		default: // a scalar; nothing can be added to it
			t := w.literal(s)
			return func(f *frame) signal { f.locals[i] = t; return next }, nil
		}
	}
	target, _ := filled(s)
	if _, folded := w.constants[target]; folded {
		return nil, nil
	}
	i := w.local(target)
	switch s := s.(type) {
	case *ir.ArrayAppendStmt:
		value := w.source(s.Value)
		return func(f *frame) signal {
			f.locals[i] = ast.NewTerm(f.locals[i].Value.(*ast.Array).Append(value(f)))
			return next
		}, nil
	case *ir.ObjectInsertStmt:
		key, value := w.source(s.Key), w.source(s.Value)
		return func(f *frame) signal { f.locals[i].Value.(ast.Object).Insert(key(f), value(f)); return next }, nil
	case *ir.ObjectInsertOnceStmt:
		key, value := w.source(s.Key), w.source(s.Value)
		return func(f *frame) signal {
			o, k, v := f.locals[i].Value.(ast.Object), key(f), value(f)
			if old := o.Get(k); old != nil && !same(old, v) {
				return f.vm.fail(fmt.Errorf("object has conflicting values under %s", k))
			}
			o.Insert(k, v)
			return next
		}, nil
	case *ir.SetAddStmt:
		value := w.source(s.Value)
		return func(f *frame) signal { f.locals[i].Value.(ast.Set).Add(value(f)); return next }, nil
	}
	return nil, fmt.Errorf("%w: %T", errUnsupported, s)
}

// made is the local that a statement makes anew.
func made(s ir.Stmt) (ir.Local, bool) {
	switch s := s.(type) {
	case *ir.MakeNullStmt:
		return s.Target, true
	case *ir.MakeNumberIntStmt:
		return s.Target, true
	case *ir.MakeNumberRefStmt:
		return s.Target, true
	case *ir.MakeArrayStmt:
		return s.Target, true
	case *ir.MakeObjectStmt:
		return s.Target, true
	case *ir.MakeSetStmt:
		return s.Target, true
	}
	return 0, false
}

// filled is the collection that a statement adds to.
func filled(s ir.Stmt) (target ir.Local, operands []ir.Operand) {
	switch s := s.(type) {
	case *ir.ArrayAppendStmt:
		return s.Array, []ir.Operand{s.Value}
	case *ir.ObjectInsertStmt:
		return s.Object, []ir.Operand{s.Key, s.Value}
	case *ir.ObjectInsertOnceStmt:
		return s.Object, []ir.Operand{s.Key, s.Value}
	case *ir.SetAddStmt:
		return s.Set, []ir.Operand{s.Value}
	}
	return -1, nil
}

// constantsOf finds the literals of a function: a local that one statement
// makes, that only statements of the same block add to, and those only
// constants. Each is made once, here. The planner gives every literal a local
// of its own and fills it before it is used.
func constantsOf(c *planner, blocks []*ir.Block) map[ir.Local]*ast.Term {
	writes := map[ir.Local]int{} // by any statement anywhere in the function
	var count func(*ir.Block)
	count = func(b *ir.Block) {
		for _, s := range b.Stmts {
			for _, l := range written(s) {
				writes[l]++
			}
			for _, inner := range within(s) {
				count(inner)
			}
		}
	}
	for _, b := range blocks {
		count(b)
	}
	constants := map[ir.Local]*ast.Term{}
	var fold func(*ir.Block)
	fold = func(b *ir.Block) {
		// Backwards in use, forwards in making: an inner literal is made before
		// it is put into an outer one, so one pass in order suffices when the
		// outer one is tried after all that it holds.
		seen := map[ir.Local]int{}
		pending := map[ir.Local]*ast.Term{}
		for _, s := range b.Stmts {
			if l, ok := made(s); ok {
				seen[l]++
				pending[l] = c.literal(s)
			} else if l, operands := filled(s); operands != nil && pending[l] != nil {
				seen[l]++
				terms := make([]*ast.Term, len(operands))
				for i, o := range operands {
					terms[i] = c.constant(o, pending, seen, writes)
				}
				if slices.Contains(terms, nil) {
					delete(pending, l)
				} else {
					pending[l] = add(pending[l], terms)
				}
			}
			for _, inner := range within(s) {
				fold(inner)
			}
		}
		for l, t := range pending {
			if t != nil && seen[l] == writes[l] {
				constants[l] = t
			}
		}
	}
	for _, b := range blocks {
		fold(b)
	}
	return constants
}

// constant is an operand's value if it is known and complete.
func (c *planner) constant(o ir.Operand, pending map[ir.Local]*ast.Term, seen, writes map[ir.Local]int) *ast.Term {
	switch v := value(o).(type) {
	case ir.StringIndex:
		return c.strings[v]
	case ir.Bool:
		return ast.InternedTerm(bool(v))
	case ir.Local:
		if seen[v] == writes[v] {
			return pending[v]
		}
	}
	return nil
}

func (c *planner) literal(s ir.Stmt) *ast.Term {
	switch s := s.(type) {
	case *ir.MakeNullStmt:
		return ast.NullTerm()
	case *ir.MakeNumberIntStmt:
		return ast.NumberTerm(json.Number(fmt.Sprint(s.Value)))
	case *ir.MakeNumberRefStmt:
		return ast.NumberTerm(json.Number(c.text[s.Index]))
	case *ir.MakeArrayStmt:
		return ast.ArrayTerm()
	case *ir.MakeObjectStmt:
		return ast.NewTerm(ast.NewObject())
	case *ir.MakeSetStmt:
		return ast.NewTerm(ast.NewSet())
	}
	return nil
}

func add(to *ast.Term, terms []*ast.Term) *ast.Term {
	switch v := to.Value.(type) {
	case *ast.Array:
		return ast.NewTerm(v.Append(terms[0]))
	case ast.Object:
		v.Insert(terms[0], terms[1])
	case ast.Set:
		v.Add(terms[0])
	}
	return to
}

// written lists the locals that a statement sets or adds to.
func written(s ir.Stmt) []ir.Local {
	if l, ok := made(s); ok {
		return []ir.Local{l}
	}
	if l, operands := filled(s); operands != nil {
		return []ir.Local{l}
	}
	switch s := s.(type) {
	case *ir.AssignVarStmt:
		return []ir.Local{s.Target}
	case *ir.AssignVarOnceStmt:
		return []ir.Local{s.Target}
	case *ir.AssignIntStmt:
		return []ir.Local{s.Target}
	case *ir.ResetLocalStmt:
		return []ir.Local{s.Target}
	case *ir.CallStmt:
		return []ir.Local{s.Result}
	case *ir.CallDynamicStmt:
		return []ir.Local{s.Result}
	case *ir.ObjectMergeStmt:
		return []ir.Local{s.Target}
	case *ir.WithStmt:
		return []ir.Local{s.Local}
	case *ir.DotStmt:
		return []ir.Local{s.Target}
	case *ir.LenStmt:
		return []ir.Local{s.Target}
	case *ir.ScanStmt:
		return []ir.Local{s.Key, s.Value}
	}
	return nil
}

// within lists the blocks inside a statement.
func within(s ir.Stmt) []*ir.Block {
	switch s := s.(type) {
	case *ir.BlockStmt:
		return s.Blocks
	case *ir.ScanStmt:
		return []*ir.Block{s.Block}
	case *ir.NotStmt:
		return []*ir.Block{s.Block}
	case *ir.WithStmt:
		return []*ir.Block{s.Block}
	}
	return nil
}
