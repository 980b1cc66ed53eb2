package main

import (
	"slices"
	"testing"

	"github.com/tiergate/tiergate/bench/peers"
	"github.com/tiergate/tiergate/engine/model"
)

// Every peer agrees with the model on the whole corpus, for the part of the
// policy that it expresses: otherwise its time would say nothing.
func TestPeersAgree(t *testing.T) {
	all, err := peers.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		t.Run(p.Name, func(t *testing.T) {
			for _, doc := range corpus() {
				ask, err := p.Prepare(doc)
				if err != nil {
					t.Fatal(err)
				}
				want := model.Decide(doc)
				got, err := ask()
				if err != nil || got.Decision != want.Decision || got.Rule != want.Rule ||
					(got.Applied != nil && !slices.Equal(got.Applied, append([]string{}, want.Applied...))) {
					t.Fatalf("%+v, want %+v (%v)\n%s", got, want, err, doc)
				}
				if p.Part == "" && got.Rationale == "" {
					t.Fatalf("no rationale: %+v\n%s", got, doc)
				}
			}
		})
	}
}
