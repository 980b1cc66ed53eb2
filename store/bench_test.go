package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// BenchmarkAppend measures durable rows per second at several numbers of
// callers, each of which waits for its row before it makes the next, over one
// tenant and over a thousand.
func BenchmarkAppend(b *testing.B) {
	for _, database := range []string{"postgres", "sqlite"} {
		for _, tenants := range []int{1, 1000} {
			for _, callers := range []int{1, 64, 256} {
				b.Run(fmt.Sprintf("%s/tenants=%d/callers=%d", database, tenants, callers), func(b *testing.B) {
					benchAppend(b, database, callers, func(i int64) *engine.Entry {
						return storetest.Entry(fmt.Sprintf("tenant-%d", i%int64(tenants)), 0)
					})
				})
			}
		}
	}
}

// benchAppend appends b.N entries from so many callers.
func benchAppend(b *testing.B, database string, callers int, entry func(i int64) *engine.Entry) {
	url := storetest.SQLite(b)
	if database == "postgres" {
		url = storetest.Postgres(b)
	}
	s := storetest.Open(b, url)
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if r := s.Append(b.Context(), []*engine.Entry{entry(i)})[0]; r.Err != nil {
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
}
