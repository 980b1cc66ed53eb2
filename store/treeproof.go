package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// TreeHead returns how many leaves the tenant's tree has and its root (RFC 6962,
// section 2.1). A tenant that has nothing yet has the empty tree.
func (s *Store) TreeHead(ctx context.Context, tenant string) (size int64, root tlog.Hash, err error) {
	edge, err := s.edge(ctx, tenant)
	if err != nil {
		return 0, tlog.Hash{}, err
	}
	return edge.Size(), edge.Root(), nil
}

// TreeRoot returns the root that the tenant's tree had when it had size leaves.
// Returns engine.ErrNotFound where it has fewer.
func (s *Store) TreeRoot(ctx context.Context, tenant string, size int64) (tlog.Hash, error) {
	reader, err := s.treeReader(ctx, tenant, size)
	if err != nil {
		return tlog.Hash{}, err
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return tlog.Hash{}, s.cannotRead("the tree", err)
	}
	return root, nil
}

// TreeProof returns the audit path (RFC 6962, section 2.1.1) of a leaf in the
// tree of the tenant's first size leaves; tlog.CheckRecord checks it. Returns
// engine.ErrNotFound where there is no such leaf, or are fewer than size.
func (s *Store) TreeProof(ctx context.Context, tenant string, leaf, size int64) (tlog.RecordProof, error) {
	if leaf < 0 || leaf >= size {
		return nil, fmt.Errorf("leaf %d in a tree of %d: %w", leaf, size, engine.ErrNotFound)
	}
	reader, err := s.treeReader(ctx, tenant, size)
	if err != nil {
		return nil, err
	}
	proof, err := tlog.ProveRecord(size, leaf, reader)
	if err != nil {
		return nil, s.cannotRead("the tree", err)
	}
	return proof, nil
}

// TreeConsistency returns the proof (RFC 6962, section 2.1.2) that the tree of
// the tenant's first to leaves has that of the first from in it; tlog.CheckTree
// checks it. from is 1 or more: nothing is to be proved of the empty tree.
// Returns engine.ErrNotFound where there are fewer than to.
func (s *Store) TreeConsistency(ctx context.Context, tenant string, from, to int64) (tlog.TreeProof, error) {
	if from < 1 || from > to {
		return nil, fmt.Errorf("a tree of %d in one of %d: %w", from, to, engine.ErrNotFound)
	}
	reader, err := s.treeReader(ctx, tenant, to)
	if err != nil {
		return nil, err
	}
	proof, err := tlog.ProveTree(to, from, reader)
	if err != nil {
		return nil, s.cannotRead("the tree", err)
	}
	return proof, nil
}

func (s *Store) edge(ctx context.Context, tenant string) (edge audit.Edge, err error) {
	var size int64
	var hashes []byte
	err = s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT tree_size, tree_edge FROM tenant_head WHERE tenant_id = $1`), tenant).Scan(&size, &hashes)
	switch {
	case errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err):
		return edge, nil
	case err != nil:
		return edge, s.cannotRead("the tree's head", err)
	}
	if edge, err = audit.ParseEdge(size, hashes); err != nil {
		return edge, s.cannotRead("the tree's head", err)
	}
	return edge, nil
}

// treeReader reads hashes of the tenant's tree, which has at least size leaves.
// What it reads is checked against the root of the whole tree: a tile that does
// not fit is an error, and never a proof that proves nothing.
func (s *Store) treeReader(ctx context.Context, tenant string, size int64) (tlog.HashReader, error) {
	edge, err := s.edge(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if size < 0 || size > edge.Size() {
		return nil, fmt.Errorf("a tree of %d, the tenant's has %d: %w", size, edge.Size(), engine.ErrNotFound)
	}
	return tlog.TileHashReader(tlog.Tree{N: edge.Size(), Hash: edge.Root()}, &tileReader{s: s, ctx: ctx, tenant: tenant}), nil
}

// tileReader reads tiles, complete ones and the others, from the database. It
// reads only what was there when the tree had the size that it is asked for,
// which never changes: so it needs no snapshot.
type tileReader struct {
	s      *Store
	ctx    context.Context
	tenant string
}

// Height is tlog.TileReader's.
func (r *tileReader) Height() int { return audit.TileHeight }

// ReadTiles is tlog.TileReader's.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		var err error
		if t.W == audit.TileWidth {
			err = r.s.db.reads().QueryRowContext(r.ctx, r.s.db.text(`SELECT hashes FROM tree_tile WHERE tenant_id = $1 AND level = $2 AND tile_index = $3`), r.tenant, t.L, t.N).Scan(&data[i])
		} else {
			data[i], err = readTile(r.query, r.tenant, t.L, t.N, t.W)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Path(), err)
		}
	}
	return data, nil
}

func (r *tileReader) query(query string, args ...any) (*sql.Rows, error) {
	return r.s.db.reads().QueryContext(r.ctx, r.s.db.text(query), args...)
}

// SaveTiles is tlog.TileReader's. Nothing is to be saved: they are here.
func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
