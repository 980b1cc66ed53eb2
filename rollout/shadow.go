package rollout

import (
	"context"
	"fmt"

	"github.com/tiergate/tiergate/engine"
)

// shadowing is the candidate that this gate runs beside the active bundle.
type shadowing struct {
	hash, against string
	shadow        *engine.Shadow // nil: it cannot be run here, because of
	fault         error
}

// StartShadow makes a kept bundle decide beside the active one, on every gate,
// without being heard. A bundle that is shadow already gives way. Returns
// engine.ErrNotFound, a *Refusal or engine.ErrUnavailable.
func (r *Rollout) StartShadow(ctx context.Context, hash string, meta engine.ChangeMeta) (Bundle, error) {
	return r.move(ctx, engine.PolicyShadow, hash, meta)
}

// StopShadow ends that. Returns engine.ErrNotFound where the bundle is no shadow.
func (r *Rollout) StopShadow(ctx context.Context, hash string, meta engine.ChangeMeta) (Bundle, error) {
	return r.move(ctx, engine.PolicyShadowStop, hash, meta)
}

// Shadow returns what the shadow has seen on this gate since it or the active
// bundle changed. Returns engine.ErrNotFound where the bundle is no shadow.
func (r *Rollout) Shadow(ctx context.Context, hash string) (engine.ShadowReport, error) {
	head, err := r.store.PolicyHead(ctx)
	if err != nil {
		return engine.ShadowReport{}, err
	}
	if head.Shadow != hash || hash == "" {
		return engine.ShadowReport{}, fmt.Errorf("bundle %.80q is no shadow: %w", hash, engine.ErrNotFound)
	}
	r.mu.Lock()
	now := r.shadowing
	r.mu.Unlock()
	switch {
	case now.hash != hash:
		return engine.ShadowReport{}, &Refusal{Kind: Contended, Detail: "This gate is about to take the shadow over. Ask again."}
	case now.shadow == nil:
		return engine.ShadowReport{}, &Refusal{Kind: Refused, Detail: "This gate cannot run the shadow: " + now.fault.Error()}
	}
	return now.shadow.Report(), nil
}

// takeShadow makes this gate run the head's shadow beside active. A shadow that
// cannot be run hurts nobody. The caller holds r.taking, under which alone
// r.shadowing is written.
func (r *Rollout) takeShadow(ctx context.Context, head engine.PolicyHead, active *engine.Policy) {
	against := active.ID().BundleHash
	if head.Shadow == r.shadowing.hash && (head.Shadow == "" || against == r.shadowing.against) {
		return
	}
	next := shadowing{hash: head.Shadow, against: against}
	if head.Shadow != "" {
		p, _, err := r.load(ctx, head.Shadow)
		if err != nil {
			next.fault = err
			r.log.Error("this gate cannot run the shadow; nothing else depends on it", "bundle_hash", head.Shadow, "error", err)
		} else {
			next.shadow = engine.NewShadow(p, active, r.metrics)
		}
	}
	r.gate.Shadow(next.shadow)
	if old := r.shadowing.shadow; old != nil {
		old.Close()
	}
	r.mu.Lock()
	r.shadowing = next
	r.mu.Unlock()
	if next.shadow != nil {
		r.log.Info("a shadow decides beside the active bundle", "bundle_hash", head.Shadow, "active_bundle", against)
	}
}
