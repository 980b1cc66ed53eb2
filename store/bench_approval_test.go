package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// BenchmarkAppendApprovals measures durable rows per second of decisions that
// need no approval (auto), that join one (join) and that each open one (open).
func BenchmarkAppendApprovals(b *testing.B) {
	for _, database := range []string{"postgres", "sqlite"} {
		for _, callers := range []int{1, 64, 256} {
			for _, kind := range []string{"auto", "join", "open"} {
				b.Run(fmt.Sprintf("%s/callers=%d/%s", database, callers, kind), func(b *testing.B) {
					url := storetest.SQLite(b)
					if database == "postgres" {
						url = storetest.Postgres(b)
					}
					s := storetest.Open(b, url)
					var next, failed atomic.Int64
					var wg sync.WaitGroup
					b.ResetTimer()
					for range callers {
						wg.Go(func() {
							for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
								e := storetest.Entry("acme", 0)
								switch kind {
								case "auto":
									e.Decision, e.Rule = engine.Auto, engine.RuleTierAllows
								case "open":
									e.Target = fmt.Sprintf("host:%d", i)
								}
								if r := s.Append(b.Context(), []*engine.Entry{e})[0]; r.Err != nil {
									failed.Add(1)
								}
							}
						})
					}
					wg.Wait()
					b.StopTimer()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
					if n := failed.Load(); n > 0 {
						b.Fatalf("%d rows failed", n)
					}
				})
			}
		}
	}
}
