package notary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/engine"
)

// Log is the tenants' trees and their record. *store.Store is one, and says what
// each method promises.
type Log interface {
	Trees(ctx context.Context, after string, limit int, want func(tenant string, size int64) bool) (list []engine.Checkpoint, last string, err error)
	TreeHead(ctx context.Context, tenant string) (size int64, root tlog.Hash, err error)
	TreeRoot(ctx context.Context, tenant string, size int64) (tlog.Hash, error)
	AddCheckpoints(ctx context.Context, list []engine.Checkpoint) error
	Setback(ctx context.Context, tenant, reason string) (engine.Setback, error)
	SetStopped(ctx context.Context, tenant string, stopped bool, meta engine.ChangeMeta) (engine.Config, error)
}

// Options is what a Notary is made of. Log and Signer are required.
type Options struct {
	Log        Log
	Signer     *checkpoint.Signer
	Retired    checkpoint.Keys       // that signed before Signer
	Folder     *Folder               // nil: no checkpoints in files
	Push       *Push                 // nil: none by HTTP
	Every      time.Duration         // how often it looks; zero: 1 s
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: metrics are kept nowhere
}

// Notary signs the trees of all tenants. Make one with New, Compare once, then Run.
type Notary struct {
	log     Log
	signer  *checkpoint.Signer
	keys    checkpoint.Keys
	folder  *Folder
	outlets []*outlet
	every   time.Duration
	logger  *slog.Logger
	metrics *metrics

	// Of Compare and then of Run alone.
	last map[string]*standing
	turn int64

	mu   sync.Mutex
	held map[string]checkpoint.Checkpoint // tenants that are stopped for a checkpoint
}

// standing is what the notary knows of a tenant.
type standing struct {
	checkpoint.Checkpoint           // the last one, made here or found outside
	compared              time.Time // when the tree was last seen to have it in it
	turn                  int64     // that last met the tenant
}

const (
	// page is how many tenants one query looks at; and one transaction signs.
	page = 256
	// compareEvery is how often a tree that grows is asked for the root that it
	// had. In between, one that shrinks or changes at the same size is noticed.
	compareEvery = 10 * time.Second
	// turnPatience bounds one look at the database.
	turnPatience = 10 * time.Second
)

// Actor is whom the record names where the notary stops a tenant.
const Actor = "tiergate"

// New makes a Notary.
func New(o Options) (*Notary, error) {
	n := &Notary{log: o.Log, signer: o.Signer, folder: o.Folder, every: o.Every, logger: o.Logger, last: map[string]*standing{}, held: map[string]checkpoint.Checkpoint{}}
	if n.every <= 0 {
		n.every = time.Second
	}
	if n.logger == nil {
		n.logger = slog.Default()
	}
	var err error
	if n.keys, err = o.Retired.With(o.Signer.Verifier()); err != nil {
		return nil, fmt.Errorf("the retired keys and the signing key: %w", err)
	}
	if n.metrics, err = newMetrics(n, o.Registerer); err != nil {
		return nil, fmt.Errorf("register the metrics of checkpoints: %w", err)
	}
	if o.Folder != nil {
		n.outlets = append(n.outlets, newOutlet("folder", o.Folder.write, n))
	}
	if o.Push != nil {
		n.outlets = append(n.outlets, newOutlet("push", o.Push.send, n))
	}
	return n, nil
}

// Keys are those whose signatures count, the present one and retired ones.
func (n *Notary) Keys() checkpoint.Keys { return n.keys }

// Held is how many tenants are stopped because their log is not the one that was
// signed.
func (n *Notary) Held() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.held)
}

// Failing says what cannot be written outside at the moment, "" for nothing.
func (n *Notary) Failing() string {
	for _, o := range n.outlets {
		if text := o.failing(); text != "" {
			return text
		}
	}
	return ""
}

// Compare holds each tenant's tree against its last checkpoint in the folder, and
// stops those whose tree is not the one that was signed. A gate must not answer
// before it has returned nil. A checkpoint in the folder that cannot be read or
// verified is an error: it may be the one that shows what happened.
func (n *Notary) Compare(ctx context.Context) error {
	if n.folder == nil {
		return nil
	}
	tenants, err := n.folder.tenants()
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		text, err := n.folder.latest(tenant)
		if err != nil {
			return err
		}
		if text == nil {
			continue
		}
		c, err := checkpoint.Open(text, n.keys)
		if err == nil && c.Tenant != tenant {
			err = fmt.Errorf("it is of tenant %s", c.Tenant)
		}
		if err != nil {
			return fmt.Errorf("the last checkpoint of tenant %s, %s: %w. If an older key signed it, name that in --retired-keys; if it is damaged, find out why before you move it away", tenant, n.folder.path(tenant), err)
		}
		size, root, err := n.log.TreeHead(ctx, tenant)
		if err != nil {
			return err
		}
		n.last[tenant] = &standing{Checkpoint: c}
		if _, err := n.compare(ctx, engine.Checkpoint{TenantID: tenant, Size: size, Root: root}); err != nil {
			return err
		}
	}
	return nil
}

// Run signs until ctx ends, and once more then, so that the last row that the
// gate wrote is covered. It returns when what is outside has it or cannot be
// reached.
func (n *Notary) Run(ctx context.Context) {
	var outlets sync.WaitGroup
	defer outlets.Wait()
	writing, stop := context.WithCancel(context.Background()) // longer than ctx: the final turn has something to write
	defer stop()
	for _, o := range n.outlets {
		outlets.Go(func() { o.run(writing) })
	}
	failing := false
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			n.final()
			return
		case <-time.After(wait):
		}
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, turnPatience)
		err := n.Turn(within)
		cancel()
		if err != nil && ctx.Err() == nil {
			n.metrics.failed.WithLabelValues("database").Inc()
			for _, s := range n.last { // what comes back may be another copy
				s.compared = time.Time{}
			}
			if !failing {
				n.logger.Error("checkpoints cannot be made; trying on", "error", err)
			}
		} else if failing {
			n.logger.Info("checkpoints are made again")
		}
		failing = err != nil
		took := time.Since(began)
		wait = max(n.every-took, took) // at most half of the time
	}
}

// final is the last turn.
func (n *Notary) final() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := n.Turn(ctx); err != nil {
		n.logger.Warn("the last rows got no checkpoint; the next start makes it", "error", err)
	}
}

// Turn looks at all trees once and signs those that have changed.
func (n *Notary) Turn(ctx context.Context) error {
	n.turn++
	var errs []error
	for after := ""; ; {
		changed, last, err := n.log.Trees(ctx, after, page, n.wants)
		if err != nil {
			return err
		}
		errs = append(errs, n.sign(ctx, changed))
		if after = last; after == "" {
			break
		}
	}
	for tenant, s := range n.last {
		if s.turn != n.turn { // its tree is gone
			errs = append(errs, n.sign(ctx, []engine.Checkpoint{{TenantID: tenant}}))
		}
	}
	return errors.Join(errs...)
}

// wants reports whether a tree of this size is to be looked at.
func (n *Notary) wants(tenant string, size int64) bool {
	s := n.last[tenant]
	if s == nil {
		return true
	}
	s.turn = n.turn
	return s.Size != size || n.isHeld(tenant) || time.Since(s.compared) > compareEvery
}

// sign signs trees that are longer than those that were signed before, if they
// have those in them.
func (n *Notary) sign(ctx context.Context, trees []engine.Checkpoint) error {
	var errs []error
	signed := trees[:0]
	for _, t := range trees {
		goesOn, err := n.compare(ctx, t)
		if err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", t.TenantID, err))
			continue
		}
		if s := n.last[t.TenantID]; !goesOn || t.Size == 0 || s != nil && s.Size == t.Size {
			continue
		}
		if t.Note, err = checkpoint.Sign(n.signer, t.TenantID, t.Size, t.Root); err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", t.TenantID, err))
			continue
		}
		signed = append(signed, t)
	}
	if err := n.log.AddCheckpoints(ctx, signed); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, t := range signed {
		s := n.last[t.TenantID]
		if s == nil {
			s = &standing{compared: time.Now(), turn: n.turn}
			n.last[t.TenantID] = s
		}
		s.Checkpoint = checkpoint.Checkpoint{Name: n.signer.Name(), Tenant: t.TenantID, Size: t.Size, Root: t.Root}
		for _, o := range n.outlets {
			o.put(t.TenantID, t.Note)
		}
		n.metrics.signed.Inc()
	}
	return errors.Join(errs...)
}
