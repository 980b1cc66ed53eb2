package review

import "testing"

func TestShippedKeepsEveryPromise(t *testing.T) {
	proof, err := Prove(t.Context(), shipped(t), ProveOptions{EngineVersion: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range proof.Promises {
		t.Log(p.Name, p.Situations, p.Broken)
		if !p.Holds {
			t.Errorf("%s: %s", p.Title, p.Counterexample.Sentence)
		}
	}
	t.Log(proof.Seconds, proof.Evaluations, proof.Situations)
}
