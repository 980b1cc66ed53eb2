package engine

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxConstants is how many constants of one collection become sights.
const maxConstants = 256

// constant notes that value, of part p, was held against a constant, or against
// each in a collection. result is what the builtin said, if one did.
func (t *trace) constant(p Part, kind SightKind, value, c, result *ast.Term) {
	if c == nil {
		return
	}
	each := func(e *ast.Term) { t.constant(p, kind, value, e, result) }
	size := 0
	switch v := c.Value.(type) {
	case ast.String:
		t.sight(p, kind, string(v), sides(kind, value, c, result))
		return
	case ast.Number:
		on := sides(kind, value, c, result)
		if kind == SightEqual || kind == SightOrder {
			kind = SightNumber
		}
		t.sight(p, kind, v.String(), on)
		return
	case *ast.Array:
		if size = v.Len(); size <= maxConstants {
			v.Foreach(each)
		}
	case ast.Set:
		if size = v.Len(); size <= maxConstants {
			v.Foreach(each)
		}
	case ast.Object:
		if size = v.Len(); size <= maxConstants {
			v.Foreach(func(k, _ *ast.Term) { each(k) })
		}
	}
	if size > maxConstants {
		t.sight(p, SightFunction, fmt.Sprintf("a collection of %d", size), Equal|Below)
	}
}

// sides says on which side of the constant a value is.
func sides(kind SightKind, value, c, result *ast.Term) Sides {
	met := false
	switch kind {
	case SightOrder:
		switch n := ast.Compare(value.Value, c.Value); {
		case n > 0:
			return Above
		case n < 0:
			return Below
		}
		return Equal
	case SightEqual:
		switch v := value.Value.(type) {
		case *ast.Array:
			v.Foreach(func(e *ast.Term) { met = met || same(e, c) })
		case ast.Set:
			met = v.Contains(c)
		default:
			met = same(value, c)
		}
	case SightPrefix, SightSuffix, SightContains:
		test := map[SightKind]func(s, part string) bool{SightPrefix: strings.HasPrefix, SightSuffix: strings.HasSuffix, SightContains: strings.Contains}[kind]
		constant := string(c.Value.(ast.String))
		each := func(e *ast.Term) {
			if s, ok := e.Value.(ast.String); ok {
				met = met || test(string(s), constant)
			}
		}
		switch v := value.Value.(type) {
		case *ast.Array:
			v.Foreach(each)
		case ast.Set:
			v.Foreach(each)
		default:
			each(value)
		}
	default:
		b, ok := ast.Boolean(false), false
		if result != nil {
			b, ok = result.Value.(ast.Boolean)
		}
		met = ok && bool(b)
	}
	if met {
		return Equal
	}
	return Below
}
