package engine

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// What is held against what: constants that cut a part, and parts of one
// request.

func (w *writer) tracedCompare(a, b ir.Operand, do step) step {
	x, y := w.source(a), w.source(b)
	return func(f *frame) signal { f.vm.trace.compare(x(f), y(f)); return do(f) }
}

// compare: two values were held against each other.
func (t *trace) compare(a, b *ast.Term) {
	x, y := t.what(a).kind, t.what(b).kind
	switch {
	case x == typeName && y == entryType, x == entryType && y == typeName:
	case x == typeName && t.isConstant(b), y == typeName && t.isConstant(a):
		t.read(PartActionType) // a sight will tell which
	default:
		t.use(a)
		t.use(b)
	}
	from, fromOther := t.origin[a], t.origin[b]
	switch {
	case fromOther == 0:
		t.equal(from, a, b)
	case from == 0:
		t.equal(fromOther, b, a)
	default:
		t.relate(from, fromOther, SightEqual)
	}
}

// equal: a value was compared with a constant, which is looked at as it is.
func (t *trace) equal(from partSet, value, c *ast.Term) {
	for p := range from.each {
		if c != nil && (isA[*ast.Array](c) || isA[ast.Object](c) || isA[ast.Set](c)) {
			on := Below
			if same(value, c) {
				on = Equal
			}
			t.sight(p, SightWhole, c.String(), on)
		} else {
			t.constant(p, SightEqual, value, c, nil)
		}
	}
}

// relate: values made of these parts were held against each other.
func (t *trace) relate(a, b partSet, kind SightKind) {
	for p := range a.each {
		for q := range b.each {
			t.together(p, q, kind, 0)
			t.together(q, p, kind, 1)
		}
	}
}

// isConstant reports whether a term is text, or a collection of texts, that
// does not come from the input.
func (t *trace) isConstant(term *ast.Term) bool {
	if t.origin[term] != 0 || term == nil || t.what(term).kind != unwatched {
		return false
	}
	texts, size := true, 0
	each := func(e *ast.Term) {
		texts = texts && isA[ast.String](e) && t.origin[e] == 0
		size++
	}
	switch v := term.Value.(type) {
	case ast.String:
		return true
	case *ast.Array:
		v.Foreach(each)
	case ast.Set:
		v.Foreach(each)
	case ast.Object:
		v.Foreach(func(k, _ *ast.Term) { each(k) })
	default:
		return false
	}
	return texts && size <= maxConstants
}

// asks reports whether a builtin holds the action type against constants in a
// way that a sight tells.
func (t *trace) asks(name string, operands []*ast.Term) bool {
	kind, ok := sightOf[name]
	return ok && (kind == SightEqual || kind == SightPrefix || kind == SightSuffix || kind == SightContains) &&
		len(operands) == 2 && t.what(operands[0]).kind == typeName && t.isConstant(operands[1])
}

// count: the size of a collection is looked at. That of the whitelist does not
// depend on the action types in it.
func (t *trace) count(term *ast.Term) {
	if k := t.what(term); k.kind == list {
		t.unknown(k.path + " as a whole")
		return
	}
	t.use(term)
}

// lookup: a part is the key into a table of the bundle.
func (t *trace) lookup(of, key *ast.Term) {
	from := t.origin[key]
	if other := t.origin[of]; other != 0 {
		t.relate(from, other, SightMember)
		return
	}
	for p := range (from &^ setOf(PartActionType)).each {
		t.constant(p, SightEqual, key, of, nil)
	}
}

// held: one of two operands was held against the other by a builtin that
// compares. Of those that look for one text in another, the first operand is the
// one looked into.
func (t *trace) held(name string, kind SightKind, operands []*ast.Term, from []partSet, result *ast.Term) {
	oneWay := kind == SightPrefix || kind == SightSuffix || kind == SightContains
	for i, parts := range from {
		for p := range parts.each {
			switch {
			case from[1-i] != 0:
				for q := range from[1-i].each {
					t.together(p, q, kind, i)
				}
			case i == 1 && oneWay:
				t.sight(p, SightFunction, name, Equal|Below)
			case name == "equal" || name == "neq":
				t.equal(setOf(p), operands[i], operands[1-i])
			default:
				t.constant(p, kind, operands[i], operands[1-i], result)
			}
		}
	}
}

// together: two parts were held against each other, so that no constant says
// where they are cut. a is the operand with that number. What the states of
// overrides and whitelist show from all sides is no sight.
func (t *trace) together(a, b Part, kind SightKind, operand int) {
	configured := func(p Part) bool { return p == PartOverrides || p == PartWhitelist }
	switch {
	case a == b || configured(a) && !configured(b):
	case !configured(b) || configured(a):
		t.sight(a, SightRelation, b.String(), Equal|Below)
	case a == PartTarget && (kind == SightEqual || kind == SightNetwork || kind == SightPrefix && operand == 0),
		a == PartConfidence && (kind == SightOrder || kind == SightEqual),
		a == PartNow && (kind == SightOrder || kind == SightEqual),
		a == PartActionType && b == PartWhitelist && kind == SightEqual:
	default:
		t.sight(a, SightRelation, fmt.Sprintf("%s (%s)", b, kind), Equal|Below)
	}
}
