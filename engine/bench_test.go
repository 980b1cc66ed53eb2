package engine_test

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/enginetest"
)

const corpusFile = "../bench/corpus.jsonl"

// The corpus that is checked in is the one that Corpus makes, and the policy
// agrees with the model on all of it.
func TestCorpus(t *testing.T) {
	docs := enginetest.Corpus(1000)
	want := append(bytes.Join(docs, []byte("\n")), '\n')
	got, err := os.ReadFile(corpusFile)
	if err != nil || !bytes.Equal(got, want) {
		if os.Getenv("TIERGATE_UPDATE") != "" {
			if err := os.WriteFile(corpusFile, want, 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Fatalf("%s is not what enginetest.Corpus makes (%v); run TIERGATE_UPDATE=1 go test ./engine -run TestCorpus", corpusFile, err)
		}
	}
	p := shippedPolicy(t)
	for _, doc := range docs {
		compareWithModel(t, p, doc)
	}
}

// One decision with its rationale and all guards, over the corpus.
func BenchmarkDecide(b *testing.B) {
	p := shippedPolicy(b)
	var inputs []ast.Value
	for _, doc := range enginetest.Corpus(1000) {
		v, err := engine.ParseDocument(doc)
		if err != nil {
			b.Fatal(err)
		}
		inputs = append(inputs, v)
	}
	took := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if _, err := p.Decide(b.Context(), inputs[i%len(inputs)]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

// The kinds of the corpus apart.
func BenchmarkDecideKind(b *testing.B) {
	p := shippedPolicy(b)
	docs := enginetest.Corpus(1000)
	for _, kind := range []struct {
		name     string
		from, to int
	}{{"tier", 0, 4}, {"override", 4, 6}, {"whitelist", 6, 9}, {"unknown", 9, 10}} {
		var inputs []ast.Value
		for i, doc := range docs {
			if i%10 >= kind.from && i%10 < kind.to {
				v, err := engine.ParseDocument(doc)
				if err != nil {
					b.Fatal(err)
				}
				inputs = append(inputs, v)
			}
		}
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := p.Decide(b.Context(), inputs[i%len(inputs)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
