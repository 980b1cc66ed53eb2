package engine

import (
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
