package notary

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/engine"
)

// compare reports whether the tree goes on from the tenant's last checkpoint, so
// that it may be signed. Where it does not, the tenant is stopped, unless an
// operator has released it for that checkpoint: then the tree begins anew.
func (n *Notary) compare(ctx context.Context, tree engine.Checkpoint) (goesOn bool, err error) {
	s := n.last[tree.TenantID]
	if s == nil {
		return true, nil
	}
	fault := ""
	switch {
	case tree.Size < s.Size:
		fault = fmt.Sprintf("the log has %d leaves and had %d", tree.Size, s.Size)
	case tree.Size == s.Size && tree.Root != [32]byte(s.Root):
		fault = fmt.Sprintf("the log has another root of its %d leaves", s.Size)
	case tree.Size > s.Size && (n.isHeld(tree.TenantID) || time.Since(s.compared) > compareEvery):
		root, err := n.log.TreeRoot(ctx, tree.TenantID, s.Size)
		if err != nil {
			return false, err
		}
		if root != s.Root {
			fault = fmt.Sprintf("the log has another root of its first %d leaves", s.Size)
		}
		s.compared = time.Now()
	case tree.Size == s.Size:
		s.compared = time.Now()
	}
	if fault == "" {
		n.unhold(tree.TenantID)
		return true, nil
	}
	return n.hold(ctx, s, fault)
}

// Reason is why a tenant is stopped, on the record. It depends on the checkpoint
// alone, so that every gate says the same and knows it again.
func Reason(c checkpoint.Checkpoint) string {
	return fmt.Sprintf("This log is not the one that was signed: checkpoint %s of %s is not in it. An older copy of the database was restored, or rows were rewritten. "+
		"Nothing is auto until an operator releases the tenant, which acknowledges that what the checkpoint covers is lost.", c, c.Origin())
}

// hold stops the tenant, or sees that it was released since.
func (n *Notary) hold(ctx context.Context, s *standing, fault string) (released bool, err error) {
	tenant, reason := s.Tenant, Reason(s.Checkpoint)
	at, err := n.log.Setback(ctx, tenant, reason)
	if err != nil {
		return false, err
	}
	switch at {
	case engine.SetbackReleased:
		n.logger.Warn("the log does not go on from its last checkpoint, and an operator has released the tenant: its checkpoints begin anew",
			"tenant", tenant, "checkpoint", s.String(), "fault", fault)
		delete(n.last, tenant)
		n.unhold(tenant)
		return true, nil
	case engine.SetbackUnknown:
		if _, err := n.log.SetStopped(ctx, tenant, true, engine.ChangeMeta{Actor: Actor, Reason: reason}); err != nil {
			return false, fmt.Errorf("stop tenant %s, whose log is not the one that was signed (%s): %w", tenant, fault, err)
		}
	}
	n.mu.Lock()
	_, known := n.held[tenant]
	n.held[tenant] = s.Checkpoint
	n.mu.Unlock()
	if !known {
		n.logger.Error("the log is not the one that was signed: an older copy of the database was restored, or rows were rewritten. The tenant is stopped until an operator releases it, and gets no checkpoints",
			"tenant", tenant, "fault", fault, "checkpoint_size", s.Size, "checkpoint_root", tlog.Hash(s.Root).String())
	}
	return false, nil
}

func (n *Notary) isHeld(tenant string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, held := n.held[tenant]
	return held
}

func (n *Notary) unhold(tenant string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.held, tenant)
}
