package review

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// TextChange is a rationale that reads differently where decision and rule are
// the same.
type TextChange struct {
	Rule       string `json:"rule"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Situations int    `json:"situations"`
	Texts      int    `json:"texts"` // how many such pairs of texts the rule has; this is the first
}

func textChanges(older, newer *Table) []TextChange {
	count := map[[2]uint32]int{}
	for i := 0; i < len(older.cells); { // neighbours are often the same
		k, first := [2]uint32{older.cells[i], newer.cells[i]}, i
		for i < len(older.cells) && older.cells[i] == k[0] && newer.cells[i] == k[1] {
			i++
		}
		count[k] += i - first
	}
	maps.DeleteFunc(count, func(k [2]uint32, _ int) bool {
		return older.Outcomes[k[0]].Rationale == newer.Outcomes[k[1]].Rationale
	})
	byRule := map[string]*TextChange{}
	for _, k := range slices.SortedFunc(maps.Keys(count), func(a, b [2]uint32) int {
		return strings.Compare(older.Outcomes[a[0]].Rationale, older.Outcomes[b[0]].Rationale)
	}) {
		a, b := older.Outcomes[k[0]], newer.Outcomes[k[1]]
		if a.Rule != b.Rule || a.Decision != b.Decision || a.Err != b.Err {
			continue // told as a change of the decision or the rule
		}
		c, ok := byRule[a.Rule]
		if !ok {
			c = &TextChange{Rule: a.Rule, Before: a.Rationale, After: b.Rationale}
			byRule[a.Rule] = c
		}
		c.Texts++
		c.Situations += count[k]
	}
	list := []TextChange{}
	for _, rule := range slices.Sorted(maps.Keys(byRule)) {
		list = append(list, *byRule[rule])
	}
	return list
}

// TableChange is a value of the bundle's data that was added, removed or
// changed. Before or After is empty where there is none; both are JSON.
type TableChange struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

func tableChanges(older, newer map[string]any) []TableChange {
	list := []TableChange{}
	var walk func(path string, a, b any, hasA, hasB bool)
	walk = func(path string, a, b any, hasA, hasB bool) {
		x, isX := a.(map[string]any)
		y, isY := b.(map[string]any)
		if (isX || !hasA) && (isY || !hasB) && (len(x) > 0 || len(y) > 0) {
			keys := map[string]bool{}
			for k := range x {
				keys[k] = true
			}
			for k := range y {
				keys[k] = true
			}
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				av, inA := x[k]
				bv, inB := y[k]
				walk(path+"."+k, av, bv, inA, inB)
			}
			return
		}
		p, isP := a.([]any)
		q, isQ := b.([]any)
		if isP && isQ && len(p) == len(q) {
			for i := range p {
				walk(fmt.Sprintf("%s[%d]", path, i), p[i], q[i], true, true)
			}
			return
		}
		before, after := text(a, hasA), text(b, hasB)
		if before != after {
			list = append(list, TableChange{path, before, after})
		}
	}
	walk("data", older, newer, true, true)
	return list
}

func text(v any, has bool) string {
	if !has {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
