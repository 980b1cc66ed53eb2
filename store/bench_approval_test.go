package store_test

import (
	"fmt"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// BenchmarkAppendApprovals measures durable rows per second of decisions that
// need no approval (auto), that join one (join) and that each open one (open).
func BenchmarkAppendApprovals(b *testing.B) {
	kinds := map[string]func(e *engine.Entry, i int64){
		"auto": func(e *engine.Entry, _ int64) { e.Decision, e.Rule = engine.Auto, engine.RuleTierAllows },
		"join": func(*engine.Entry, int64) {},
		"open": func(e *engine.Entry, i int64) { e.Target = fmt.Sprintf("host:%d", i) },
	}
	for _, database := range []string{"postgres", "sqlite"} {
		for _, callers := range []int{1, 64, 256} {
			for _, kind := range []string{"auto", "join", "open"} {
				b.Run(fmt.Sprintf("%s/callers=%d/%s", database, callers, kind), func(b *testing.B) {
					benchAppend(b, database, callers, func(i int64) *engine.Entry {
						e := storetest.Entry("acme", 0)
						kinds[kind](e, i)
						return e
					})
				})
			}
		}
	}
}
