package audit

import (
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Edge is all of a tree that is needed to add to it and to know its root: how
// many leaves it has, and the hashes of the perfect subtrees that make it up,
// from left to right, one for each bit that is set in the size. The zero value
// is the empty tree.
type Edge struct {
	size   int64
	hashes []tlog.Hash
}

// ParseEdge reads what Bytes wrote.
func ParseEdge(size int64, b []byte) (Edge, error) {
	if n := bits.OnesCount64(uint64(size)); size < 0 || len(b) != n*tlog.HashSize {
		return Edge{}, fmt.Errorf("the right edge of a tree of %d leaves cannot have %d bytes", size, len(b))
	}
	e := Edge{size: size, hashes: make([]tlog.Hash, len(b)/tlog.HashSize, 64)}
	for i := range e.hashes {
		copy(e.hashes[i][:], b[i*tlog.HashSize:])
	}
	return e, nil
}

// Size is how many leaves the tree has.
func (e *Edge) Size() int64 { return e.size }

// Bytes are the hashes one behind the other.
func (e *Edge) Bytes() []byte {
	b := make([]byte, 0, len(e.hashes)*tlog.HashSize)
	for i := range e.hashes {
		b = append(b, e.hashes[i][:]...)
	}
	return b
}

// Root is the root of the tree, RFC 6962's MTH: of no leaves, SHA-256 of nothing.
func (e *Edge) Root() tlog.Hash {
	root, err := tlog.TreeHash(e.size, tlog.HashReaderFunc(func([]int64) ([]tlog.Hash, error) { return e.hashes, nil }))
	if err != nil { // the reader gives none, and the edge has as many as are asked for
		panic(err)
	}
	return root
}

// Tile is a complete tile as in C2SP tlog-tiles: TileWidth nodes side by side,
// of height 8*Level, from the node TileWidth*Index on. Root is the node above
// them all.
type Tile struct {
	Level int
	Index int64
	Root  tlog.Hash
}

// TileWidth is how many hashes a complete tile has, 2^TileHeight.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// Add adds a leaf and returns tiles with those behind it that it completes, the
// lowest level first.
func (e *Edge) Add(leaf tlog.Hash, tiles []Tile) []Tile {
	h := leaf
	level := 0
	for n := e.size; n&1 == 1; n >>= 1 {
		last := len(e.hashes) - 1
		h = tlog.NodeHash(e.hashes[last], h)
		e.hashes = e.hashes[:last]
		if level++; level%TileHeight == 0 {
			tiles = append(tiles, Tile{Level: level/TileHeight - 1, Index: e.size >> level, Root: h})
		}
	}
	e.hashes = append(e.hashes, h)
	e.size++
	return tiles
}
