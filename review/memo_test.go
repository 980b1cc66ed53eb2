package review

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
)

// What earlier evaluations say is what an evaluation would say: the same
// verdict and reads everywhere, and over many, the same sights, unknown paths and
// rules that held. The mistakes do all kinds of things with the input.
func TestMemoChangesNothing(t *testing.T) {
	radius := mistake{name: "radius-in-a-rule", files: shippedFiles(t)}
	const looked = `object.get(data.gate.actions, [input.request.action_type, "blast_radius"], "CRITICAL")`
	text := string(radius.files["gate/gate.rego"].Data)
	radius.files["gate/gate.rego"] = &fstest.MapFile{Data: []byte(strings.Replace(text, looked, "_radius", 1) + "\n_radius := " + looked + "\n")}
	for _, m := range append(mistakes(t), radius) {
		t.Run(m.name, func(t *testing.T) {
			b, err := bundles.LoadFS(m.files)
			if err != nil {
				t.Fatal(err)
			}
			sub := subject(t, b)
			s := base(actionGroups([]*Subject{sub}, true))
			s.Actors = append(s.Actors, "user:anna")
			if err := s.complete(); err != nil {
				t.Fatal(err)
			}
			memo, with, without := sub.tracer.NewMemo(), newFindings(), newFindings()
			r, recalled := rand.New(rand.NewPCG(1, 2)), 0
			for range 2000 {
				x := s.situation(r.IntN(s.size))
				if r.IntN(2) == 0 { // more of those that share something
					x[engine.PartOverrides], x[engine.PartTarget] = x[engine.PartOverrides]%3, x[engine.PartTarget]%2
				}
				at := engine.Place{Values: x, Class: int(sub.radius(s.ActionTypes[x[engine.PartActionType]]))}
				d, got, ran := sub.tracer.DecideAt(t.Context(), memo, at, func() (*engine.Request, *engine.Facts) { return s.facts(x) }, Now)
				request, facts := s.facts(x)
				v, want, err := sub.tracer.Decide(t.Context(), request, facts, Now)
				if !ran {
					recalled++
					v.Rationale, d.Verdict.Rationale = "", "" // it may name another type of the radius
				}
				if fmt.Sprint(err) != fmt.Sprint(d.Err) || fmt.Sprint(v) != fmt.Sprint(d.Verdict) || !slices.Equal(got.Reads, want.Reads) {
					t.Fatalf("ran %v: %s\n%v %v %v, want\n%v %v %v", ran, s.Input(x), d.Verdict, got.Reads, d.Err, v, want.Reads, err)
				}
				with.note(got)
				without.note(want)
			}
			if recalled < 200 {
				t.Errorf("only %d of 2000 were recalled", recalled)
			}
			if !maps.Equal(with.seen, without.seen) || !maps.Equal(with.paths, without.paths) || !maps.Equal(with.held, without.held) {
				t.Errorf("findings\n%v, want\n%v", with, without)
			}
		})
	}
}
