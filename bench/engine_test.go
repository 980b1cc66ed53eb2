package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/enginetest"
	"github.com/tiergate/tiergate/policies"
)

func shipped(tb testing.TB) *engine.Policy {
	tb.Helper()
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := engine.NewPolicy(tb.Context(), engine.PolicySource{
		ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// Every peer agrees with the model on the whole corpus: otherwise its time
// would say nothing.
func TestPeersAgree(t *testing.T) {
	naive, err := NewNaive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := NewPlainShipped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range Corpus() {
		want := enginetest.Model(doc)
		for name, p := range map[string]*Plain{"naive": naive, "shipped": plain} {
			got, err := p.Decide(t.Context(), decode(doc))
			if err != nil || got.Rule != want.Rule || got.Rationale == "" {
				t.Fatalf("%s: %+v, want %+v (%v)\n%s", name, got, want, err, doc)
			}
		}
	}
}

// measure runs decide over the corpus and reports the median and 99th percentile.
func measure[T any](b *testing.B, inputs []T, decide func(T) error) {
	took := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if err := decide(inputs[i%len(inputs)]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

func BenchmarkEngine(b *testing.B) {
	docs := Corpus()
	var maps []map[string]any
	var values []ast.Value
	for _, doc := range docs {
		maps = append(maps, decode(doc))
		v, err := engine.ParseDocument(doc)
		if err != nil {
			b.Fatal(err)
		}
		values = append(values, v)
	}
	b.Run("tiergate", func(b *testing.B) {
		p := shipped(b)
		measure(b, values, func(v ast.Value) error {
			_, err := p.Decide(b.Context(), v)
			return err
		})
	})
	for name, build := range map[string]func() (*Plain, error){
		"opa-naive":   func() (*Plain, error) { return NewNaive(b.Context()) },
		"opa-shipped": func() (*Plain, error) { return NewPlainShipped(b.Context()) },
	} {
		b.Run(name, func(b *testing.B) {
			p, err := build()
			if err != nil {
				b.Fatal(err)
			}
			measure(b, maps, func(m map[string]any) error {
				_, err := p.Decide(b.Context(), m)
				return err
			})
		})
	}
	b.Run("go", func(b *testing.B) {
		measure(b, docs, func(doc []byte) error { enginetest.Model(doc); return nil })
	})
}
