package engine

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// trace collects while a plan runs. Terms are known by identity: the plan
// passes them on as they are.
type trace struct {
	Trace
	known   []known               // few: searched one by one
	actions *ast.Term             // the action table
	origin  map[*ast.Term]partSet // values and what was made of them → the parts they come from
	seen    [Parts]bool

	memo   *Memo                // nil: nothing is remembered; then all of these are
	at     *Place               // of this evaluation
	active *recording           // of the function that runs
	rules  map[*memo][]observed // what rules looked at whose value is known in this evaluation
}

// known is a term that the trace keeps an eye on.
type known struct {
	term *ast.Term
	kind kind
	path string // of a whole or list
}

type kind int

const (
	unwatched  kind = iota
	whole           // input, input.request, …: it holds parts
	list            // input.overrides or input.whitelist
	typeName        // the action type
	entryType       // the action type of a whitelist entry
	typePath        // an array that begins with the action type
	typeRow         // the action type's row of the action table
	typeText        // text that names the action type
	verdictish      // an object that has such text as its rationale, or holds one
)

func newTrace(doc ast.Value, actions *ast.Term) *trace {
	t := &trace{known: make([]known, 0, 16), actions: actions, origin: make(map[*ast.Term]partSet, 16)}
	t.Held, t.Sights = map[string]bool{}, map[Sight]Sides{}
	o := doc.(ast.Object)
	t.watch(o.Get(keyRequest), whole, "input.request")
	t.watch(o.Get(keyTenant), whole, "input.tenant")
	for _, key := range []*ast.Term{keyOverrides, keyWhitelist} {
		elements := o.Get(key)
		if a := elements.Value.(*ast.Array); a.Len() > 0 {
			path := "input." + string(key.Value.(ast.String))
			t.watch(elements, list, path)
			a.Foreach(func(e *ast.Term) { t.watch(e, whole, path+"[_]") })
		}
	}
	return t
}

func (t *trace) watch(term *ast.Term, k kind, path string) {
	if term != nil && t.what(term).kind == unwatched {
		t.known = append(t.known, known{term, k, path})
	}
}

// what is known about a term.
func (t *trace) what(term *ast.Term) known {
	for i := range t.known {
		if t.known[i].term == term {
			return t.known[i]
		}
	}
	return known{}
}

func (t *trace) read(p Part) {
	if t.active != nil {
		t.active.read(p)
	}
	t.tell(p)
}

// note tells of parts that were read when something was computed before.
func (t *trace) note(parts []Part) {
	for _, p := range parts {
		t.tell(p)
	}
}

// loosely: the action type is used in a way that no sight tells.
func (t *trace) loosely() {
	t.read(PartActionType)
	t.Loose = true
}

// class: something depends on the action type, if only on its radius.
func (t *trace) class() {
	if t.active != nil {
		t.active.read(partClass)
	}
}

func (t *trace) tell(p Part) {
	if p == partClass {
		return
	}
	if !t.seen[p] {
		t.seen[p] = true
		t.Reads = append(t.Reads, p)
	}
}

func (t *trace) unknown(path string) {
	if !slices.Contains(t.Unknown, path) {
		t.Unknown = append(t.Unknown, path)
	}
}

func (t *trace) sight(p Part, kind SightKind, text string, sides Sides) {
	t.Sights[Sight{Part: p, Kind: kind, Text: text}] |= sides
}

// partOf finds the part at a path such as input.request.target.
func partOf(path string) (Part, bool) {
	i := slices.Index(partPaths[:], path)
	return Part(i), i >= 0
}

// elementKeys are what the gate sends of an override and a whitelist entry.
var elementKeys = map[string]bool{"mode": true, "constraints": true, "expires_at": true, "id": true, "action_type": true}

// dot: the key was looked up in of, and value (nil: undefined) found.
func (t *trace) dot(of, key, value *ast.Term) {
	if of == nil || key == nil {
		return
	}
	k := t.what(of)
	name, _ := key.Value.(ast.String)
	switch k.kind {
	case list:
		t.unknown("the place of an entry in " + k.path)
		return
	case whole:
		if name != "" {
			t.member(k.path, string(name), value)
		}
		return
	case typeRow:
		if name != "blast_radius" {
			t.loosely()
		}
	case typePath, typeText:
		t.loosely()
	}
	switch t.what(key).kind {
	case typeName:
		if of == t.actions {
			t.watch(value, typeRow, "")
		} else {
			t.loosely()
		}
	case entryType, typeText:
		t.loosely()
	}
	if from := t.origin[of]; from != 0 {
		t.derive(value, from)
		if _, isObject := of.Value.(ast.Object); isObject && name != "" {
			on := Equal
			if value == nil {
				on = Below
			}
			for p := range (from & setOf(PartOverrides, PartWhitelist)).each {
				t.sight(p, SightMember, string(name), on)
			}
		}
	}
	t.lookup(of, key)
}

// member: a member of one of the wholes was looked up.
func (t *trace) member(path, name string, value *ast.Term) {
	full := path + "." + name
	switch path {
	case "input.overrides[_]", "input.whitelist[_]":
		part := PartOverrides
		if path == "input.whitelist[_]" {
			part = PartWhitelist
			if name == "action_type" {
				t.watch(value, entryType, "")
			}
		}
		if !elementKeys[name] {
			t.unknown(full)
		}
		t.derive(value, setOf(part))
		return
	}
	if full == "input.request" || full == "input.tenant" {
		return
	}
	p, known := partOf(full)
	switch {
	case !known:
		t.unknown(full)
		return
	case p == PartActionType:
		t.class()
		t.watch(value, typeName, "")
	default:
		t.read(p)
	}
	switch p {
	case PartTarget, PartActor, PartActionType, PartConfidence, PartTenantID, PartNow:
		t.derive(value, setOf(p))
	}
}

// partSet is a set of parts.
type partSet uint16

func setOf(parts ...Part) (s partSet) {
	for _, p := range parts {
		s |= 1 << p
	}
	return s
}

func (s partSet) each(yield func(Part) bool) {
	for p := range Part(Parts) {
		if s&(1<<p) != 0 && !yield(p) {
			return
		}
	}
}

// derive notes that value was made of these parts. Truth values are shared and say
// nothing about where they come from.
func (t *trace) derive(value *ast.Term, from partSet) {
	if value == nil || from == 0 {
		return
	}
	switch v := value.Value.(type) {
	case ast.Boolean, ast.Null:
		return
	case ast.String:
		if v == "" {
			return
		}
	}
	t.origin[value] |= from
}

// replaced: a `with` put another term in the place of one. What of it is a copy
// of a whole counts as that whole; what was put in counts as read with it.
func (t *trace) replaced(old, new *ast.Term) {
	k := t.what(old)
	if k.kind != whole || old == new {
		return
	}
	o, ok := new.Value.(ast.Object)
	if !ok {
		return
	}
	t.watch(new, whole, k.path)
	old.Value.(ast.Object).Foreach(func(key, v *ast.Term) {
		if now := o.Get(key); now != nil && now != v {
			t.replaced(v, now)
		}
	})
}

// use: the term is used as it is, so all that is in it was read.
func (t *trace) use(term *ast.Term) {
	k := t.what(term)
	switch k.kind {
	case unwatched:
		return
	case list:
		if t.unknown(k.path + " as a whole"); k.path == "input.whitelist" {
			t.loosely()
		}
		return
	case typeName, entryType, typePath, typeRow, typeText, verdictish:
		t.loosely()
		return
	}
	if k.path == "input.whitelist[_]" {
		t.loosely()
	}
	for p, full := range partPaths {
		if len(full) > len(k.path) && full[:len(k.path)] == k.path && full[len(k.path)] == '.' {
			if t.read(Part(p)); Part(p) == PartActionType {
				t.loosely()
			}
		}
	}
	t.unknown(k.path + " as a whole")
}

// children: the elements of a collection are looked at one by one.
func (t *trace) children(of *ast.Term) {
	if of == nil {
		return
	}
	if t.what(of).kind != list { // its elements are watched themselves
		t.use(of)
	}
	t.deriveAll(of)
}

// deriveAll gives the elements of a collection the origin that it has.
func (t *trace) deriveAll(of *ast.Term) {
	p := t.origin[of]
	if p == 0 {
		return
	}
	switch v := of.Value.(type) {
	case *ast.Array:
		v.Foreach(func(e *ast.Term) { t.derive(e, p) })
	case ast.Object:
		v.Foreach(func(k, e *ast.Term) { t.derive(k, p); t.derive(e, p) })
	case ast.Set:
		v.Foreach(func(e *ast.Term) { t.derive(e, p) })
	}
}

// put: value went into the collection, under key if that is an object.
func (t *trace) put(into, key, value *ast.Term) {
	switch k := t.what(value).kind; k {
	case unwatched:
	case typeName, typePath:
		if _, isArray := into.Value.(*ast.Array); isArray {
			t.watch(into, typePath, "")
			return
		}
		t.use(value)
	case typeText, verdictish:
		_, isArray := into.Value.(*ast.Array)
		name, _ := keyOf(key)
		switch {
		case isArray && k == typeText:
			t.watch(into, typePath, "")
		case k == typeText && name == "rationale", k == verdictish && name == "result":
			t.watch(into, verdictish, "")
		default:
			t.use(value)
		}
	default:
		t.use(value)
	}
}

func keyOf(key *ast.Term) (string, bool) {
	if key == nil {
		return "", false
	}
	s, ok := key.Value.(ast.String)
	return string(s), ok
}
