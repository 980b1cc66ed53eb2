package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lib/pq"

	"github.com/tiergate/tiergate/engine"
)

// policyChanger is one change of the policy inside its transaction.
type policyChanger struct {
	changer
	head engine.PolicyHead // as it stands; the change sets what it becomes
}

// SeedPolicy keeps the first bundle of an empty database and makes it active.
// Returns engine.ErrStale where some bundle is active already.
func (s *Store) SeedPolicy(ctx context.Context, hash, revision string, archive []byte, meta engine.ChangeMeta) (engine.PolicyHead, error) {
	return s.changePolicy(ctx, engine.PolicySeed, hash, meta, func(c *policyChanger) error {
		if c.head.Epoch != 0 {
			return fmt.Errorf("%w: %s is active", engine.ErrStale, c.head.Active)
		}
		c.head.Active = hash
		return c.keep(hash, revision, archive)
	})
}

// KeepBundle keeps a bundle for ever, as a change row of kind upload. Where it
// is kept already and another is false, nothing changes and added is false;
// with another, archive is kept as one more copy of it.
func (s *Store) KeepBundle(ctx context.Context, hash, revision string, archive []byte, another bool, meta engine.ChangeMeta) (added bool, err error) {
	_, err = s.changePolicy(ctx, engine.PolicyUpload, hash, meta, func(c *policyChanger) error {
		var n int
		if err := c.row(`SELECT count(*) FROM policy_bundle WHERE bundle_hash = $1`, hash).Scan(&n); err != nil {
			return err
		}
		switch {
		case n == 0:
			added = true
			return c.keep(hash, revision, archive)
		case another:
			return c.exec(`INSERT INTO policy_bundle_copy (bundle_hash, change_id, archive) VALUES ($1, $2, $3)`, hash, c.head.ChangeID+1, archive)
		}
		return errNothingToDo
	})
	if errors.Is(err, errNothingToDo) {
		err = nil
	}
	return added && err == nil, err
}

// MovePolicy changes which bundle is active or shadow and returns the new
// head. Once it has answered, no decision made by the bundle that was active
// before is committed, by any gate. A bundle that becomes active is no shadow
// any more. Returns engine.ErrNotFound where m.Hash is not kept, and
// engine.ErrStale when the head is no longer the one that m names.
func (s *Store) MovePolicy(ctx context.Context, m engine.PolicyMove, meta engine.ChangeMeta) (engine.PolicyHead, error) {
	return s.changePolicy(ctx, m.Kind, m.Hash, meta, func(c *policyChanger) error {
		if c.head.ChangeID != m.IfChange {
			return fmt.Errorf("%w: the policy's newest change is %d, not %d", engine.ErrStale, c.head.ChangeID, m.IfChange)
		}
		var n int
		if err := c.row(`SELECT count(*) FROM policy_bundle WHERE bundle_hash = $1`, m.Hash).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("bundle %.80q: %w", m.Hash, engine.ErrNotFound)
		}
		switch m.Kind {
		case engine.PolicyActivate, engine.PolicyRollback:
			c.head.Active = m.Hash
			if c.head.Shadow == m.Hash {
				c.head.Shadow = ""
			}
		case engine.PolicyShadow:
			c.head.Shadow = m.Hash
		case engine.PolicyShadowStop:
			c.head.Shadow = ""
		default:
			return fmt.Errorf("a policy cannot be moved by %q", m.Kind)
		}
		return nil
	})
}

// SaveProof keeps what was found out about a kept bundle. What is kept already
// under that engine version stays.
func (s *Store) SaveProof(ctx context.Context, p engine.Proof) error {
	return s.withPatience(ctx, "keep a proof", func() error {
		turn := s.db.exclusive()
		turn.Lock()
		defer turn.Unlock()
		tx, err := s.db.begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		c := changer{s: s, tx: tx, ctx: context.Background()}
		var bundles, proofs int
		err = c.row(`SELECT (SELECT count(*) FROM policy_bundle WHERE bundle_hash = $1), (SELECT count(*) FROM policy_proof WHERE bundle_hash = $1 AND engine_version = $2)`,
			p.BundleHash, p.EngineVersion).Scan(&bundles, &proofs)
		switch {
		case err != nil:
			return err
		case bundles == 0:
			return fmt.Errorf("bundle %.80q: %w", p.BundleHash, engine.ErrNotFound)
		case proofs > 0:
			return nil
		}
		err = c.exec(`INSERT INTO policy_proof (bundle_hash, engine_version, holds, report, at) VALUES ($1, $2, $3, $4, $5)`,
			p.BundleHash, p.EngineVersion, p.Holds, string(p.Report), engine.FormatTime(p.At))
		if s.matchesNothing(err) { // another gate was faster
			return nil
		}
		if err != nil {
			return err
		}
		return tx.Commit()
	})
}

var errNothingToDo = errors.New("nothing to do")

// raises reports whether a kind of change raises the policy epoch.
func raises(kind string) bool {
	return kind == engine.PolicySeed || kind == engine.PolicyActivate || kind == engine.PolicyRollback
}

func (s *Store) changePolicy(ctx context.Context, kind, hash string, meta engine.ChangeMeta, mutate func(*policyChanger) error) (engine.PolicyHead, error) {
	var after engine.PolicyHead
	err := s.withPatience(ctx, "change the policy ("+kind+")", func() (err error) {
		after, err = s.policyTx(kind, hash, meta, mutate)
		for try := 1; err != nil && try < 4 && isLockTimeout(err); try++ {
			time.Sleep(200 * time.Millisecond) // appends that waited behind it go first
			after, err = s.policyTx(kind, hash, meta, mutate)
		}
		return err
	})
	if err != nil {
		return engine.PolicyHead{}, err
	}
	s.policyNews()
	return after, nil
}

func (s *Store) policyTx(kind, hash string, meta engine.ChangeMeta, mutate func(*policyChanger) error) (engine.PolicyHead, error) {
	turn := s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	tx, err := s.db.begin()
	if err != nil {
		return engine.PolicyHead{}, err
	}
	defer tx.Rollback()
	c := &policyChanger{changer: changer{s: s, tx: tx, ctx: context.Background(), meta: meta, now: time.Now().UTC().Truncate(time.Millisecond)}}
	if err := c.lockPolicy(kind); err != nil {
		return engine.PolicyHead{}, err
	}
	before := c.head
	if err := mutate(c); err != nil {
		return engine.PolicyHead{}, err
	}
	if err := c.recordPolicy(kind, hash, before); err != nil {
		return engine.PolicyHead{}, err
	}
	if err := tx.Commit(); err != nil {
		return engine.PolicyHead{}, fmt.Errorf("commit not confirmed, the change may have been made: %w", err)
	}
	return c.head, nil
}

// lockPolicy takes the head's row, and for a change of the active bundle before
// that the table, which every append shares. Behind a gate that hangs in the middle of an
// append it does not wait long: all appends wait behind it meanwhile.
func (c *policyChanger) lockPolicy(kind string) (err error) {
	if _, ok := c.s.db.(*postgres); ok && raises(kind) {
		if err := c.exec(`SET LOCAL lock_timeout = '600ms'`); err != nil {
			return err
		}
		if err := c.exec(`LOCK TABLE policy_head IN EXCLUSIVE MODE`); err != nil {
			return err
		}
	}
	c.head, err = scanPolicyHead(c.row(`SELECT ` + policyHeadColumns + ` FROM policy_head FOR UPDATE`))
	return err
}

// keep writes a new bundle; its change row follows.
func (c *policyChanger) keep(hash, revision string, archive []byte) error {
	return c.exec(`INSERT INTO policy_bundle (bundle_hash, change_id, revision, archive, uploaded_by, uploaded_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		hash, c.head.ChangeID+1, revision, archive, c.meta.Actor, engine.FormatTime(c.now))
}

// recordPolicy writes the head, the change row and the announcement.
func (c *policyChanger) recordPolicy(kind, hash string, before engine.PolicyHead) error {
	c.head.ChangeID++
	if raises(kind) {
		c.head.Epoch++
	}
	if err := c.exec(`UPDATE policy_head SET change_id = $1, policy_epoch = $2, active_hash = $3, shadow_hash = $4`,
		c.head.ChangeID, c.head.Epoch, orNull(c.head.Active), orNull(c.head.Shadow)); err != nil {
		return err
	}
	if err := c.exec(`INSERT INTO policy_change (change_id, policy_epoch, kind, bundle_hash, before, after, actor, reason, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		c.head.ChangeID, c.head.Epoch, kind, hash, headDoc(before, false), headDoc(c.head, c.meta.AcceptNotCovered && kind != engine.PolicyRollback), c.meta.Actor, c.meta.Reason, engine.FormatTime(c.now)); err != nil {
		return err
	}
	if _, ok := c.s.db.(*postgres); !ok {
		return nil
	}
	return c.exec(`SELECT pg_notify($1, $2)`, policyChannel, strconv.FormatInt(c.head.ChangeID, 10))
}

// headDoc is what a change row says about a head.
func headDoc(h engine.PolicyHead, accepted bool) string {
	doc := map[string]any{"active": orNull(h.Active), "shadow": orNull(h.Shadow)}
	if accepted {
		doc["accepted_not_covered"] = true
	}
	b, err := json.Marshal(doc)
	if err != nil { // strings always marshal
		panic(err)
	}
	return string(b)
}

func isLockTimeout(err error) bool {
	var fault *pq.Error
	return errors.As(err, &fault) && fault.Code == "55P03"
}

// plainErrors say themselves that nothing was written.
var plainErrors = []error{engine.ErrNotFound, engine.ErrStale, errNothingToDo, engine.ErrApprovalMoved, engine.ErrStaleEpoch, engine.ErrStalePolicy, engine.ErrTooManyOutcomes}

// withPatience runs a write that is not cancelled with its caller, and waits
// for it as long as for any change of configuration.
func (s *Store) withPatience(ctx context.Context, what string, write func() error) error {
	wait := s.opts.Patience
	if wait <= 0 {
		wait = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		s.changes.RLock()
		defer s.changes.RUnlock()
		if s.closed {
			done <- errors.New("the store is closed")
			return
		}
		done <- write()
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: no answer from %s in time; whether it was done is unknown", what, engine.ErrUnavailable, s.db.where())
	}
	if err == nil || slices.ContainsFunc(plainErrors, func(plain error) bool { return errors.Is(err, plain) }) {
		return err
	}
	return fmt.Errorf("%s: %w: %v", what, engine.ErrUnavailable, err)
}
