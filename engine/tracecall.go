package engine

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/ir"
)

// traced wraps a statement so that it tells a trace what it reads.
func (w *writer) traced(s ir.Stmt, do step) step {
	if do == nil {
		return nil
	}
	switch s := s.(type) {
	case *ir.DotStmt:
		source, key, i := w.source(s.Source), w.source(s.Key), w.local(s.Target)
		return func(f *frame) signal {
			sig := do(f)
			f.vm.trace.dot(source(f), key(f), f.locals[i])
			return sig
		}
	case *ir.EqualStmt:
		return w.tracedCompare(s.A, s.B, do)
	case *ir.NotEqualStmt:
		return w.tracedCompare(s.A, s.B, do)
	case *ir.ScanStmt:
		i := w.local(s.Source)
		return func(f *frame) signal { f.vm.trace.children(f.locals[i]); return do(f) }
	case *ir.LenStmt:
		source := w.source(s.Source)
		return func(f *frame) signal { f.vm.trace.count(source(f)); return do(f) }
	case *ir.ArrayAppendStmt, *ir.ObjectInsertStmt, *ir.ObjectInsertOnceStmt, *ir.SetAddStmt:
		return w.tracedFill(s, do)
	case *ir.CallDynamicStmt:
		return w.tracedPath(s, do)
	case *ir.ObjectMergeStmt:
		a, b := w.local(s.A), w.local(s.B)
		return func(f *frame) signal {
			f.vm.trace.use(f.locals[a])
			f.vm.trace.use(f.locals[b])
			return do(f)
		}
	case *ir.CallStmt:
		if _, ours := w.functions[s.Func]; ours {
			return do
		}
		args := make([]func(*frame) *ast.Term, len(s.Args))
		for i, a := range s.Args {
			args[i] = w.source(a)
		}
		name, i := s.Func, w.local(s.Result)
		return func(f *frame) signal {
			operands := make([]*ast.Term, len(args))
			for k, a := range args {
				operands[k] = a(f)
			}
			sig := do(f)
			if r := f.locals[i]; r != nil && isA[ast.Number](r) {
				f.locals[i] = ast.NewTerm(r.Value) // small numbers are shared, and origins go by identity
			}
			f.vm.trace.call(name, operands, f.locals[i])
			return sig
		}
	}
	return do
}

// tracedFill is for statements that put something into a collection.
func (w *writer) tracedFill(s ir.Stmt, do step) step {
	target, operands := filled(s)
	i := w.local(target)
	value := w.source(operands[len(operands)-1])
	key := func(*frame) *ast.Term { return nil }
	if len(operands) == 2 {
		key = w.source(operands[0])
	}
	return func(f *frame) signal {
		tr, before := f.vm.trace, f.locals[i] // appending to an array makes another
		sig := do(f)
		into, k, v := f.locals[i], key(f), value(f)
		if kept := tr.what(before); before != into && kept.kind != unwatched {
			tr.watch(into, kept.kind, kept.path)
		}
		if k != nil {
			tr.use(k)
		}
		tr.put(into, k, v)
		for _, t := range []*ast.Term{before, k, v} {
			if from := tr.origin[t]; from != 0 {
				tr.derive(into, from)
			}
		}
		return sig
	}
}

// tracedPath is for a call by a path: what is in the path is held against the
// names of all rules in that place.
func (w *writer) tracedPath(s *ir.CallDynamicStmt, do step) step {
	path := make([]func(*frame) *ast.Term, len(s.Path))
	for i, p := range s.Path {
		path[i] = w.source(p)
	}
	paths := w.paths
	return func(f *frame) signal {
		tr := f.vm.trace
		for i, p := range path {
			t := p(f)
			tr.use(t)
			for from := range tr.origin[t].each {
				for _, names := range paths {
					if len(names) == len(path) {
						tr.constant(from, SightEqual, t, ast.StringTerm(names[i]), nil)
					}
				}
			}
		}
		return do(f)
	}
}

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

// sightOf says what a builtin that compares tells about its operands: the
// operand that is looked at is the first, but for networks.
var sightOf = map[string]SightKind{
	"lt": SightOrder, "lte": SightOrder, "gt": SightOrder, "gte": SightOrder, "equal": SightEqual, "neq": SightEqual,
	"internal.member_2": SightEqual,
	"startswith":        SightPrefix, "strings.any_prefix_match": SightPrefix,
	"endswith": SightSuffix, "strings.any_suffix_match": SightSuffix,
	"contains":          SightContains,
	"net.cidr_contains": SightNetwork, "net.cidr_intersects": SightNetwork,
}

// transforms make a value of another that is as fine or coarser, so that what
// it is compared with still says where the values are cut. typeTests cut by
// type, which no value of a part varies. texts make text to be read.
var (
	transforms = set("trim trim_left trim_right trim_prefix trim_suffix trim_space lower upper replace strings.replace_n " +
		"split substring concat sprintf net.cidr_merge internal.template_string array.concat")
	texts     = set("sprintf concat internal.template_string")
	typeTests = set("is_array is_boolean is_null is_number is_object is_set is_string")
)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// call: a builtin was called.
func (t *trace) call(name string, operands []*ast.Term, result *ast.Term) {
	if name == "object.get" && len(operands) == 3 {
		t.get(operands[0], operands[1], result)
		return
	}
	switch {
	case typeTests[name]:
		return
	case (name == "equal" || name == "neq") && len(operands) == 2:
		t.compare(operands[0], operands[1])
		return
	case texts[name] && t.names(operands):
		t.watch(result, typeText, "")
	case name == "count" && len(operands) == 1:
		t.count(operands[0])
	case t.asks(name, operands):
		t.read(PartActionType)
	default:
		for _, o := range operands {
			t.use(o)
		}
	}
	from, all := make([]partSet, len(operands)), partSet(0)
	for i, o := range operands {
		from[i] = t.origin[o]
		all |= from[i]
	}
	if all == 0 {
		return
	}
	if kind, ok := sightOf[name]; ok && len(operands) == 2 {
		t.held(name, kind, operands, from, result)
		return
	}
	if name == "regex.match" && from[0] == 0 && len(operands) == 2 {
		for p := range from[1].each {
			t.constant(p, SightPattern, operands[1], operands[0], result)
		}
		return
	}
	if kind, ok := trimmed[name]; ok && from[1] == 0 {
		for p := range from[0].each {
			t.constant(p, kind, operands[0], operands[1], result)
		}
	}
	kind := SightFunction
	if transforms[name] {
		kind = SightTransform
	}
	t.derive(result, all)
	if kind == SightTransform && result != nil {
		t.deriveAll(result)
	}
	if kind == SightTransform && texts[name] {
		return
	}
	for p := range all.each {
		t.Sights[Sight{p, kind, name, t.besides(operands)}] |= Equal | Below
	}
}

// besides are the constants among a builtin's operands.
func (t *trace) besides(operands []*ast.Term) string {
	var list []string
	for _, o := range operands {
		if t.origin[o] == 0 && t.what(o).kind == unwatched {
			text := o.String()
			list = append(list, text[:min(len(text), 200)])
		}
	}
	return strings.Join(list, ", ")
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

// trimmed are the transforms whose second operand cuts the values of the first.
var trimmed = map[string]SightKind{"trim_prefix": SightPrefix, "trim_suffix": SightSuffix}

// names reports whether the operands of a text name the action type, and hold
// nothing else that is watched.
func (t *trace) names(operands []*ast.Term) (named bool) {
	for _, o := range operands {
		switch t.what(o).kind {
		case unwatched:
		case typeName, typePath, typeText:
			named = true
		default:
			return false
		}
	}
	return named
}

// get: object.get(of, path, default) with a key or an array of keys.
func (t *trace) get(of, path, result *ast.Term) {
	keys := []*ast.Term{path}
	if t.what(path).kind == typePath && of != t.actions {
		t.loosely()
	}
	if a, ok := path.Value.(*ast.Array); ok {
		keys = keys[:0]
		a.Foreach(func(k *ast.Term) { keys = append(keys, k) })
	}
	if len(keys) == 0 {
		t.use(of)
		return
	}
	for i, k := range keys {
		next := member(of, k)
		t.dot(of, k, next)
		if next == nil {
			return
		}
		if of = next; i == len(keys)-1 && result != nil && result != next {
			t.derive(result, t.origin[next])
		}
	}
	t.use(of)
}
