package server

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/receipt"
)

// receiptOf is the receipt of a decision that lets its action go, "" for any other
// and where this gate gives none. The entry is one that the log has taken, with its
// leaf: so nothing is signed before its row is durable, and no preview ever is.
func (s *server) receiptOf(e *engine.Entry) (string, error) {
	until, letGo := e.ValidUntil()
	if s.receipts == nil || !letGo || !e.Leaf.Known() || e.LogSeq == 0 || !s.now().Before(until) {
		return "", nil
	}
	grant := receipt.GrantAuto
	if e.Supersedes != "" {
		grant = receipt.GrantApproval
	}
	return s.receipts.Sign(receipt.Claims{
		Tenant: e.TenantID, DecisionID: e.DecisionID, ActionID: e.ActionID, ActionType: e.ActionType, Target: e.Target,
		ParametersDigest: e.ParametersDigest, Grant: grant, BundleHash: e.Policy.BundleHash,
		LogSeq: e.LogSeq, LeafIndex: e.Leaf.Index, LeafHash: base64.StdEncoding.EncodeToString(e.Leaf.Hash[:]),
	}, e.DecidedAt, s.now())
}

// answerWithReceipt is answerOf for whoever asked.
func (s *server) answerWithReceipt(e *engine.Entry) (a *decisionAnswer, err error) {
	a = s.answerOf(e)
	a.Receipt, err = s.receiptOf(e)
	return a, err
}

// mayAsk reports whether the caller is one to whom receipts are given: who only
// reads the log carries nothing out.
func mayAsk(w caller) bool {
	return slices.ContainsFunc(w.roles, func(r Role) bool { return slices.Contains(ask, r) })
}

// releaseReceipt is the receipt of the decision by which people let e's action go.
// An auto has its receipt in the answer, and again when asked for with the same
// action_id.
func (s *server) releaseReceipt(ctx context.Context, e *engine.Entry) (string, error) {
	by, ok := e.LetGoBy()
	if s.receipts == nil || !ok || e.ApprovalID == "" || !s.now().Before(e.Approval.ValidUntil) {
		return "", nil
	}
	d, err := elsewhere(ctx, func(ctx context.Context) (*engine.Entry, error) {
		d, err := s.store.Entry(ctx, e.TenantID, by)
		if err == nil {
			d.Leaf, err = s.store.LeafOf(ctx, e.TenantID, d.LogSeq)
		}
		return d, err
	})
	if errors.Is(err, engine.ErrNotFound) {
		return "", nil // from before the tree
	}
	if err != nil {
		return "", err
	}
	return s.receiptOf(d)
}

// keySet answers with the public keys of receipts; a gate that signs none has none.
func (s *server) keySet(c *gin.Context) error {
	s.answer(c, http.StatusOK, jsontext.Value(receipt.FormatKeys(s.keys...)))
	return nil
}
