package engine

import (
	"encoding/binary"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// remembered is vm.run for an evaluation with a memo.
func (m *vm) remembered(fn *function, caller *frame, args []func(*frame) *ast.Term) *ast.Term {
	t := m.trace
	if fn.memo && m.memo[fn.index].known {
		t.active.add(t.rules[&m.memo[fn.index]]...)
		return m.memo[fn.index].value
	}
	root := t.root(m, fn, caller, args)
	if root == nil {
		outer := t.active
		t.active = &recording{}
		value := m.run(fn, caller, args)
		outer.add(t.active.list...)
		if fn.memo {
			t.rules[&m.memo[fn.index]] = t.active.list
		}
		t.active = outer
		return value
	}
	end, ok := t.memo.find(root, t.at)
	if ok {
		t.note(t.memo.parts)
	} else {
		outer := t.active
		t.active = &recording{}
		value := m.run(fn, caller, args)
		list := t.active.list
		t.active = outer
		// A value that holds something of this evaluation's own input is not kept.
		marks, sure := t.marks(value, nil)
		if m.err == nil && sure {
			end = t.memo.reach(root, list, t.at)
		}
		if end == nil {
			outer.add(list...)
			if fn.memo {
				t.rules[&m.memo[fn.index]] = list
			}
			return value
		}
		end.state, end.value = leaf, t.memo.results.number(value, marks)
	}
	r, looked := t.memo.results.list[end.value], observed{call: root, value: end.value}
	for _, k := range r.marks {
		t.derive(k.term, k.from)
	}
	t.active.add(looked)
	if fn.memo {
		m.memo[fn.index] = memo{true, r.value}
		t.rules[&m.memo[fn.index]] = []observed{looked}
	}
	return r.value
}

// root is the tree for a call, nil where it cannot be told from others.
func (t *trace) root(m *vm, fn *function, caller *frame, args []func(*frame) *ast.Term) *recalled {
	if len(args) < 2 || args[0](caller) != m.input || args[1](caller) != m.data {
		return nil // the entrypoint, or a `with`
	}
	memo := t.memo
	key := binary.AppendUvarint(memo.key[:0], uint64(fn.index))
	text := func(s string) { key = append(binary.AppendUvarint(key, uint64(len(s))), s...) }
	for _, arg := range args[2:] {
		a := arg(caller)
		if a == nil {
			key = append(key, 'u')
			continue
		}
		k := t.what(a)
		if k.kind == list || k.kind == whole && k.path != "input.overrides[_]" && k.path != "input.whitelist[_]" {
			return nil // another one in each evaluation
		}
		from := t.origin[a]
		key = append(key, byte(k.kind), byte(from), byte(from>>8))
		switch v := a.Value.(type) {
		case ast.String:
			key = append(key, 's')
			text(string(v))
		case ast.Number:
			key = append(key, 'n')
			text(string(v))
		case ast.Boolean:
			if key = append(key, 'f'); v {
				key[len(key)-1] = 't'
			}
		default:
			if marks, ok := t.marks(a, nil); ok {
				// What is in a value of some parts is of those parts.
				marks = slices.DeleteFunc(marks, func(m mark) bool { return m.from&^from == 0 })
				key = binary.AppendUvarint(append(key, 'v'), uint64(memo.arguments.number(a, marks)))
				break
			}
			id, ok := memo.terms[a]
			if !ok {
				id = uint32(len(memo.terms))
				memo.terms[a] = id
			}
			key = binary.AppendUvarint(append(key, 'i'), uint64(id))
		}
	}
	memo.key = key
	n, ok := memo.roots[string(key)]
	if !ok {
		n = &recalled{}
		memo.roots[string(key)] = n
	}
	return n
}

const maxMarks = 32

// marks lists what is known of a term and of all that is in it. It is not ok
// where one of them is watched.
func (t *trace) marks(term *ast.Term, list []mark) (_ []mark, ok bool) {
	if term == nil {
		return list, true
	}
	if t.what(term).kind != unwatched || len(list) > maxMarks {
		return nil, false
	}
	if from := t.origin[term]; from != 0 {
		list = append(list, mark{term, from})
	}
	ok = true
	each := func(e *ast.Term) {
		if ok {
			list, ok = t.marks(e, list)
		}
	}
	switch v := term.Value.(type) {
	case *ast.Array:
		v.Foreach(each)
	case ast.Object:
		v.Foreach(func(k, e *ast.Term) { each(k); each(e) })
	case ast.Set:
		v.Foreach(each)
	}
	return list, ok
}
