package store_test

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/store/storetest"
)

// BenchmarkTreeProof measures an audit path and a consistency proof in a tree of
// a million leaves whose last tile came leaf by leaf.
func BenchmarkTreeProof(b *testing.B) {
	for _, database := range []string{"postgres", "sqlite"} {
		b.Run(database, func(b *testing.B) {
			const size = 1_000_000 - 1
			url := storetest.SQLite(b)
			if database == "postgres" {
				url = storetest.Postgres(b)
			}
			s := storetest.Open(b, url)
			plant(b, url, "acme", size)
			b.Run("record", func(b *testing.B) {
				for b.Loop() {
					if _, err := s.TreeProof(b.Context(), "acme", rand.Int64N(size), size); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("consistency", func(b *testing.B) {
				for b.Loop() {
					if _, err := s.TreeConsistency(b.Context(), "acme", 1+rand.Int64N(size), size); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// plant writes a tree of leaves that belong to no rows.
func plant(b *testing.B, url, tenant string, size int64) {
	db := storetest.DB(b, url)
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	exec := func(query string, args ...any) {
		if _, err := tx.Exec(query, args...); err != nil {
			b.Fatal(err)
		}
	}
	var edge audit.Edge
	levels := map[int][]byte{}
	var run []byte
	for n := range size {
		leaf := tlog.RecordHash([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
		run = append(run, leaf[:]...)
		levels[0] = append(levels[0], leaf[:]...)
		if first := n + 1 - int64(len(run)/tlog.HashSize); n%audit.TileWidth == audit.TileWidth-1 || n >= size-size%audit.TileWidth {
			exec(`INSERT INTO tree_leaf (tenant_id, leaf_index, kind, seq, hashes) VALUES ($1, $2, 'decision', $3, $4)`, tenant, first, first, run)
			run = nil
		}
		for _, t := range edge.Add(leaf, nil) {
			exec(`INSERT INTO tree_tile (tenant_id, level, tile_index, hashes, root) VALUES ($1, $2, $3, $4, $5)`, tenant, t.Level, t.Index, levels[t.Level], t.Root[:])
			levels[t.Level], levels[t.Level+1] = nil, append(levels[t.Level+1], t.Root[:]...)
		}
	}
	exec(`INSERT INTO tenant_head (tenant_id, log_seq, tree_size, tree_edge) VALUES ($1, $2, $2, $3)`, tenant, size, edge.Bytes())
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}
