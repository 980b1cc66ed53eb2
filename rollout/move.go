package rollout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
)

// Upload keeps an archive as one more bundle and begins to prove it. Where the
// bundle is kept already, added is false and nothing changes, unless none of
// the kept copies is signed as this gate wants it: then this one is kept, too.
// An archive that is refused is a *Refusal of kind BadBundle.
func (r *Rollout) Upload(ctx context.Context, archive []byte, meta engine.ChangeMeta) (_ Bundle, added bool, err error) {
	select {
	case r.uploads <- struct{}{}:
		defer func() { <-r.uploads }()
	case <-ctx.Done():
		return Bundle{}, false, ctx.Err()
	}
	b, err := bundles.Read(bytes.NewReader(archive), r.o.Verifier)
	if err != nil {
		return Bundle{}, false, &Refusal{Kind: BadBundle, Detail: err.Error()}
	}
	p, err := compile(ctx, b)
	if err != nil {
		if ctx.Err() != nil {
			return Bundle{}, false, ctx.Err()
		}
		return Bundle{}, false, &Refusal{Kind: BadBundle, Detail: err.Error()}
	}
	kept, err := r.store.BundleArchives(ctx, b.Hash)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return Bundle{}, false, err
	}
	another := false
	if len(kept) > 0 {
		_, _, err := readArchives(b.Hash, kept, r.verifierOf(b.Hash))
		another = err != nil
	}
	if added, err = r.store.KeepBundle(ctx, b.Hash, b.Revision, archive, another, meta); err != nil {
		return Bundle{}, false, err
	}
	r.remember(b.Hash, p)
	if _, err := r.proofOf(ctx, b.Hash); errors.Is(err, engine.ErrNotFound) {
		if _, err := r.prove(ctx, b.Hash, b); err != nil {
			return Bundle{}, false, err
		}
	}
	view, err := r.Bundle(ctx, b.Hash)
	return view, added, err
}

// Activate makes a kept bundle with a newer revision the active one of the
// whole deployment. Once it has returned without an error, no decision of the
// bundle before is committed, by any gate. It waits a while for the proof; what
// that does not cover is refused unless meta accepts it.
// Returns engine.ErrNotFound, a *Refusal, or engine.ErrUnavailable, with which
// it is unknown whether the bundle was activated.
func (r *Rollout) Activate(ctx context.Context, hash string, meta engine.ChangeMeta) (Bundle, error) {
	return r.move(ctx, engine.PolicyActivate, hash, meta)
}

// Rollback makes a bundle active that was so before, as Activate does.
func (r *Rollout) Rollback(ctx context.Context, hash string, meta engine.ChangeMeta) (Bundle, error) {
	return r.move(ctx, engine.PolicyRollback, hash, meta)
}

// maxMoves is how often a move is judged when the head changes under it.
const maxMoves = 5

func (r *Rollout) move(ctx context.Context, kind, hash string, meta engine.ChangeMeta) (Bundle, error) {
	for range maxMoves {
		head, err := r.store.PolicyHead(ctx)
		if err != nil {
			return Bundle{}, err
		}
		b, err := r.store.Bundle(ctx, hash)
		if err != nil {
			return Bundle{}, err
		}
		if err := r.judge(ctx, kind, head, b); err != nil {
			return Bundle{}, err
		}
		if err := r.prepare(ctx, kind, hash, meta.AcceptNotCovered); err != nil {
			return Bundle{}, err
		}
		head, err = r.store.MovePolicy(ctx, engine.PolicyMove{Kind: kind, Hash: hash, IfChange: head.ChangeID}, meta)
		if errors.Is(err, engine.ErrStale) {
			continue
		}
		if err != nil {
			return Bundle{}, err
		}
		return r.moved(ctx, head, hash)
	}
	return Bundle{}, &Refusal{Kind: Contended, Detail: "Others keep changing the policy at the same time. Nothing was changed. Look at what stands and ask again."}
}

// moved goes over to what this gate has just made the head.
func (r *Rollout) moved(ctx context.Context, head engine.PolicyHead, hash string) (Bundle, error) {
	taking, cancel := context.WithTimeout(context.WithoutCancel(ctx), followPatience)
	defer cancel()
	if err := r.takeOver(taking, head); err != nil {
		// The move stands, and the log refuses what the old bundle decides.
		r.log.Error("a policy change was made and this gate cannot follow it yet", "active_bundle", head.Active, "error", err)
	}
	return r.Bundle(taking, hash)
}

// judge says what the rules say, before any work is done.
func (r *Rollout) judge(ctx context.Context, kind string, head engine.PolicyHead, b engine.KeptBundle) error {
	refuse := func(format string, args ...any) error {
		return &Refusal{Kind: Refused, Detail: fmt.Sprintf(format, args...)}
	}
	if kind == engine.PolicyShadowStop {
		if head.Shadow != b.Hash {
			return fmt.Errorf("bundle %s is no shadow: %w", b.Hash, engine.ErrNotFound)
		}
		return nil
	}
	if head.Active == b.Hash {
		return refuse("Bundle %s is the active one already. Nothing was changed.", b.Hash)
	}
	switch kind {
	case engine.PolicyRollback:
		if !b.WasActive {
			return refuse("Bundle %s was never active, so there is no way back to it. Activate it.", b.Hash)
		}
	case engine.PolicyActivate:
		active, err := r.store.Bundle(ctx, head.Active)
		if err != nil {
			return err
		}
		switch compareRevisions(b.Revision, active.Revision) {
		case -1:
			return refuse("Revision %s is older than the active %s. To go back to a bundle that was active before, use rollback.", b.Revision, active.Revision)
		case 0:
			return refuse("Revision %s is not newer than the active %s, which has other content (%s). Give the new content a higher revision.", b.Revision, active.Revision, active.Hash)
		}
		other, err := r.store.RevisionHolder(ctx, b.Revision, b.Hash)
		if err != nil {
			return err
		}
		if other != "" {
			return refuse("Revision %s was active with other content (%s). A revision names one content: give this one a higher one.", b.Revision, other)
		}
	}
	return nil
}

// prepare makes sure that this gate can run the bundle and, where it is to
// decide, that it is proved. What its proof does not cover must be accepted when
// it is activated first; the way back is free.
func (r *Rollout) prepare(ctx context.Context, kind, hash string, accept bool) error {
	if kind == engine.PolicyShadowStop {
		return nil
	}
	_, b, err := r.load(ctx, hash)
	if err == nil {
		// What is in memory here is not what the other gates, and this one after
		// a restart, will have: that is the kept copy.
		err = r.checkKept(ctx, hash)
	}
	if err != nil {
		if errors.Is(err, engine.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		return &Refusal{Kind: Refused, Detail: "The kept bundle cannot be used by this gate: " + err.Error()}
	}
	if kind == engine.PolicyShadow {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, r.o.ProofPatience)
	defer cancel()
	began := time.Now()
	proof, err := r.proveNow(waiting, hash, b)
	if err == nil && kind == engine.PolicyActivate && !accept {
		err = allCovered(proof)
	}
	refusal, _ := errors.AsType[*Refusal](err)
	switch {
	case err == nil || refusal != nil || ctx.Err() != nil || errors.Is(err, engine.ErrUnavailable):
		return err
	case waiting.Err() != nil:
		return &Refusal{Kind: StillProving, Detail: fmt.Sprintf("The proof of bundle %s is not finished after %s. Nothing was changed. Ask again.", hash, time.Since(began).Round(time.Second))}
	}
	return &Refusal{Kind: Refused, Detail: "Whether the bundle holds its promises could not be found out: " + err.Error()}
}
