package server

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/engine"
)

// checkpoint answers with the checkpoint as it was signed, so that what was
// fetched is what tiergate verify takes.
func (s *server) checkpoint(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	point, err := s.store.Checkpoint(c.Request.Context(), who(c).tenant)
	if errors.Is(err, engine.ErrNotFound) {
		if s.notary == nil {
			return notFound("There is no checkpoint: this gate signs none. serve --signing-key makes it do so.")
		}
		return notFound("There is no checkpoint yet: the first one comes within a second of the tenant's first row.")
	}
	if err != nil {
		return err
	}
	neverKeep(c)
	c.Data(http.StatusOK, "text/plain; charset=utf-8", point.Note)
	return nil
}

// inclusionProof shows that a leaf is in the tree of the first so many.
func (s *server) inclusionProof(c *gin.Context) error {
	q, err := readQuery(c, "leaf", "size")
	if err != nil {
		return err
	}
	leaf, size := q.number("leaf", 0), q.number("size", 1)
	if err := q.err(); err != nil {
		return err
	}
	if leaf >= size {
		return badField("leaf", "must be less than size: leaves count from 0")
	}
	ctx, tenant := c.Request.Context(), who(c).tenant
	proof, err := s.store.TreeProof(ctx, tenant, leaf, size)
	if err != nil {
		return noTree(err)
	}
	hash, err := s.store.Leaf(ctx, tenant, leaf)
	if err != nil {
		return noTree(err)
	}
	root, err := s.store.TreeRoot(ctx, tenant, size)
	if err != nil {
		return noTree(err)
	}
	s.answer(c, http.StatusOK, struct {
		Tenant string   `json:"tenant_id"`
		Leaf   int64    `json:"leaf_index"`
		Hash   string   `json:"leaf_hash"`
		Size   int64    `json:"tree_size"`
		Root   string   `json:"root"`
		Proof  []string `json:"proof"`
	}{tenant, leaf, hash.String(), size, root.String(), texts(proof)})
	return nil
}

// consistencyProof shows that one tree is the beginning of another.
func (s *server) consistencyProof(c *gin.Context) error {
	q, err := readQuery(c, "from", "to")
	if err != nil {
		return err
	}
	from, to := q.number("from", 1), q.number("to", 1)
	if err := q.err(); err != nil {
		return err
	}
	if from > to {
		return badField("from", "must not be more than to")
	}
	ctx, tenant := c.Request.Context(), who(c).tenant
	proof, err := s.store.TreeConsistency(ctx, tenant, from, to)
	if err != nil {
		return noTree(err)
	}
	before, err := s.store.TreeRoot(ctx, tenant, from)
	if err != nil {
		return noTree(err)
	}
	after, err := s.store.TreeRoot(ctx, tenant, to)
	if err != nil {
		return noTree(err)
	}
	s.answer(c, http.StatusOK, struct {
		Tenant   string   `json:"tenant_id"`
		From     int64    `json:"from"`
		FromRoot string   `json:"from_root"`
		To       int64    `json:"to"`
		ToRoot   string   `json:"to_root"`
		Proof    []string `json:"proof"`
	}{tenant, from, before.String(), to, after.String(), texts(proof)})
	return nil
}

func noTree(err error) error {
	if errors.Is(err, engine.ErrNotFound) {
		return notFound("The tenant's tree has fewer leaves. GET /log/checkpoint says how many were signed.")
	}
	return err
}

// texts are hashes in base64, as checkpoints spell them.
func texts(hashes []tlog.Hash) []string {
	list := make([]string, len(hashes))
	for i, h := range hashes {
		list[i] = h.String()
	}
	return list
}
