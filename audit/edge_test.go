package audit_test

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

// The edge gives the same roots as tlog's own storage of all hashes, and names
// each tile when it is complete, with the hash that is above it.
func TestEdgeIsTlog(t *testing.T) {
	var all []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			list[i] = all[x]
		}
		return list, nil
	})
	var edge audit.Edge
	if empty, _ := tlog.TreeHash(0, nil); edge.Root() != empty {
		t.Error("the root of the empty tree")
	}
	const size = audit.TileWidth*audit.TileWidth + 3*audit.TileWidth + 5
	tiles := map[string]bool{}
	for n := range int64(size) {
		leaf := tlog.RecordHash(fmt.Append(nil, n))
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hashes...)
		for _, tile := range edge.Add(leaf, nil) {
			path := tlog.Tile{H: audit.TileHeight, L: tile.Level, N: tile.Index, W: audit.TileWidth}.Path()
			if want := all[tlog.StoredHashIndex(audit.TileHeight*(tile.Level+1), tile.Index)]; tile.Root != want || tiles[path] {
				t.Fatalf("at %d tile %s has root %v, want %v (twice: %v)", n, path, tile.Root, want, tiles[path])
			}
			tiles[path] = true
		}
		if n%97 != 0 && n < size-2*audit.TileWidth {
			continue
		}
		want, err := tlog.TreeHash(n+1, reader)
		if err != nil {
			t.Fatal(err)
		}
		again, err := audit.ParseEdge(edge.Size(), edge.Bytes())
		if err != nil || edge.Root() != want || again.Root() != want {
			t.Fatalf("root of %d: %v %v %v %v", n+1, edge.Root(), again.Root(), want, err)
		}
		edge = again
	}
	complete := 0
	for _, tile := range tlog.NewTiles(audit.TileHeight, 0, size) {
		if tile.W == audit.TileWidth {
			complete++
			if !tiles[tile.Path()] {
				t.Errorf("%s was not named", tile.Path())
			}
		}
	}
	if complete != len(tiles) {
		t.Errorf("%d tiles were named, %d are complete", len(tiles), complete)
	}
}

func TestParseEdgeRefuses(t *testing.T) {
	for size, n := range map[int64]int{0: 32, 1: 0, 2: 64, 3: 32, 7: 95, -1: 64 * 32, 255: 7 * 32} {
		if _, err := audit.ParseEdge(size, make([]byte, n)); err == nil {
			t.Errorf("took %d bytes for a tree of %d", n, size)
		}
	}
}
