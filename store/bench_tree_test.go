package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// BenchmarkTree measures what the trees cost an append: durable rows per second
// with and without them, in turns in one run, each on a database of its own. An
// iteration is one turn of both; run it with -benchtime 15x or so. lost-% is the
// median over the turns of what the trees take away.
func BenchmarkTree(b *testing.B) {
	for _, database := range []string{"postgres", "sqlite"} {
		for _, tenants := range []int{1, 1000} {
			for _, callers := range []int{1, 64, 256} {
				b.Run(fmt.Sprintf("%s/tenants=%d/callers=%d", database, tenants, callers), func(b *testing.B) {
					benchTree(b, database, tenants, callers)
				})
			}
		}
	}
}

func benchTree(b *testing.B, database string, tenants, callers int) {
	patient := func(o *store.Options) { o.Patience = time.Minute } // a busy disk is slow for both
	with := storetest.Open(b, treeDatabase(b, database, false), patient)
	without := storetest.Open(b, treeDatabase(b, database, true), patient, store.WithoutTree)
	rows := map[int]int{1: 300, 64: 6_000, 256: 12_000}[callers]
	turn := func(s *store.Store) float64 {
		entries := make([]*engine.Entry, rows)
		for i := range entries {
			entries[i] = storetest.Entry(fmt.Sprintf("tenant-%d", i%tenants), 0)
		}
		start := time.Now()
		var next atomic.Int64
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(rows); i = next.Add(1) {
					if r := s.Append(b.Context(), entries[i-1:i])[0]; r.Err != nil {
						b.Error(r.Err)
					}
				}
			})
		}
		wg.Wait()
		return float64(rows) / time.Since(start).Seconds()
	}
	turn(with)
	turn(without)
	var on, off, lost []float64
	for i := range b.N {
		var x, y float64
		if i%2 == 0 {
			x, y = turn(with), turn(without)
		} else {
			y, x = turn(without), turn(with)
		}
		on, off, lost = append(on, x), append(off, y), append(lost, 100*(1-x/y))
	}
	for name, list := range map[string][]float64{"rows/s-with": on, "rows/s-without": off, "lost-%": lost} {
		slices.Sort(list)
		b.ReportMetric(list[len(list)/2], name)
	}
	b.ReportMetric(0, "ns/op")
}

// treeDatabase is a fresh database, which takes rows that are no leaves if bare.
func treeDatabase(b *testing.B, database string, bare bool) string {
	url := storetest.SQLite(b)
	if database == "postgres" {
		url = storetest.Postgres(b)
	}
	storetest.Open(b, url).Close(b.Context())
	if !bare {
		return url
	}
	for _, table := range []string{"remediation_gate_log", "approval_event"} {
		query := `ALTER TABLE ` + table + ` DROP CONSTRAINT in_tree`
		if strings.HasPrefix(url, "sqlite:") {
			query = `DROP TRIGGER ` + table + `_in_tree`
		}
		if _, err := storetest.DB(b, url).Exec(query); err != nil {
			b.Fatal(err)
		}
	}
	return url
}
