package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/review"
	"github.com/tiergate/tiergate/store"
)

// compile makes a policy of a bundle to look at what it decides; it need not be
// one that a gate would run.
func compile(ctx context.Context, b *bundles.Bundle) (*engine.Policy, error) {
	p, err := engine.CompilePolicy(ctx, engine.PolicySource{
		ID:      engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash},
		Modules: b.Modules,
		Data:    b.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("compile bundle: %w", orNoDecision(b, err))
	}
	return p, nil
}

// bundleShelf finds bundles by their hash: the one under review, the one built
// in, those of folders that were given, and those kept in the database.
type bundleShelf struct {
	candidate *engine.Policy
	byHash    map[string]*bundles.Bundle
	kept      func(ctx context.Context, hash string) ([][]byte, error)
}

func newBundleShelf(b *bundles.Bundle, candidate *engine.Policy, folders []string) (*bundleShelf, error) {
	s := &bundleShelf{candidate: candidate, byHash: map[string]*bundles.Bundle{b.Hash: b}}
	builtIn, err := loadBundle("")
	if err != nil {
		return nil, err
	}
	s.byHash[builtIn.Hash] = builtIn
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, fmt.Errorf("--bundle-dir: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() && !strings.HasSuffix(e.Name(), ".tar.gz") && !strings.HasSuffix(e.Name(), ".tgz") {
				continue
			}
			b, err := bundles.Load(filepath.Join(folder, e.Name()))
			if err != nil {
				return nil, fmt.Errorf("--bundle-dir: %w", err)
			}
			s.byHash[b.Hash] = b
		}
	}
	return s, nil
}

// policy is a review.BundleSource.
func (s *bundleShelf) policy(ctx context.Context, hash string) (*engine.Policy, error) {
	if hash == s.candidate.ID().BundleHash {
		return s.candidate, nil
	}
	if b := s.byHash[hash]; b != nil {
		return compile(ctx, b)
	}
	if s.kept == nil {
		return nil, engine.ErrNotFound
	}
	archives, err := s.kept(ctx, hash)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, archive := range archives {
		b, err := bundles.Read(bytes.NewReader(archive), nil)
		if err == nil && b.Hash != hash {
			err = fmt.Errorf("what the database keeps under that hash is %s", b.Hash)
		}
		if err == nil {
			return compile(ctx, b)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// logTable reads the gate log of a database, tenant by tenant.
type logTable struct {
	reader  *store.Reader
	query   store.ReplayQuery
	tenants []store.TenantLog
	after   int64 // log_seq of the first tenant that was read last
}

func openLogTable(ctx context.Context, url string, tenants []string, from, to time.Time, withParameters bool, shelf *bundleShelf) (*logTable, error) {
	r, err := store.OpenReader(ctx, url)
	if err != nil {
		return nil, storeError(err)
	}
	all, err := r.TenantLogs(ctx)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	for _, want := range tenants {
		if !slices.ContainsFunc(all, func(t store.TenantLog) bool { return t.TenantID == want }) {
			return nil, errors.Join(usageError{fmt.Errorf("--tenant %s: there is no row of that tenant", want)}, r.Close())
		}
	}
	if len(tenants) > 0 {
		all = slices.DeleteFunc(all, func(t store.TenantLog) bool { return !slices.Contains(tenants, t.TenantID) })
	}
	shelf.kept = r.BundleArchives
	return &logTable{reader: r, tenants: all, query: store.ReplayQuery{From: from, To: to, WithParameters: withParameters}}, nil
}

// size counts the rows that are looked at, also those outside from and to.
func (l *logTable) size() (n int64) {
	for _, t := range l.tenants {
		n += t.LastSeq
	}
	return n
}

func (l *logTable) close() error { return l.reader.Close() }

func (l *logTable) pages(bar *progress) review.LogPages {
	return func(ctx context.Context) ([]engine.LoggedDecision, error) {
		for len(l.tenants) > 0 {
			t := l.tenants[0]
			through := min(l.after+logPage, t.LastSeq)
			page, err := l.reader.Page(ctx, t.TenantID, l.query, l.after, through)
			if err != nil {
				return nil, err
			}
			bar.Add(through - l.after)
			if l.after = through; through == t.LastSeq {
				l.tenants, l.after = l.tenants[1:], 0
			}
			if len(page) > 0 {
				return page, nil
			}
		}
		return nil, nil
	}
}
