package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/audit/statement"
	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
)

// file verifies what export wrote.
func (v *verification) file(ctx context.Context, path string) error {
	r, size, err := openFile(path)
	if err != nil {
		return exitError{err, exitUnreadable}
	}
	defer r.Close()
	f, err := evidence.Open(ctx, r, size)
	if err != nil {
		return v.refused(ctx, path, err)
	}
	if v.flags.tenant != "" && v.flags.tenant != f.Tenant {
		return usageError{fmt.Errorf("%s is of tenant %.80q, not of --tenant %s", path, f.Tenant, v.flags.tenant)}
	}
	for _, p := range v.points {
		if p.Tenant != f.Tenant {
			return usageError{fmt.Errorf("%s is of tenant %.80q, and --checkpoint %s of tenant %s", path, f.Tenant, p.path, p.Tenant)}
		}
	}
	bar := newProgress(v.stderr, "verify", f.TreeSize)
	found, err := v.checkFile(ctx, f, bar)
	bar.Done()
	if err != nil {
		return v.refused(ctx, path, err)
	}
	return v.say(found)
}

// refused tells a file that was changed from one that cannot be read.
func (v *verification) refused(ctx context.Context, path string, err error) error {
	if errors.Is(err, evidence.ErrChanged) {
		return exitError{fmt.Errorf("%s: %w", path, err), exitTampered}
	}
	return unreadable(ctx, fmt.Errorf("%s: %w", path, err))
}

func (v *verification) checkFile(ctx context.Context, f *evidence.File, bar *progress) (*findings, error) {
	found := &findings{Report: &replay.Report{Tenant: f.Tenant}}
	own, err := f.Keys()
	if err != nil {
		return nil, err
	}
	list, err := f.Checkpoints()
	if err != nil {
		return nil, err
	}
	var with []named
	for _, name := range sortedNames(list) {
		with = append(with, named{name, list[name]})
	}
	o := v.options(f.Tenant, v.checkpoints(found, own, with), keptPolicies(f.Bundle), bar)
	if len(o.Kept) == 0 && len(found.Signatures) == 0 {
		found.Notes = append(found.Notes, "there is no checkpoint: whether the log was rewritten or cut off as a whole cannot be told")
	}
	page, err := v.statement(ctx, f)
	if err != nil {
		return nil, err
	}
	if page != nil {
		defer page.Close()
		o.Each = page.Add
	}
	if found.Report, err = replay.CheckFile(ctx, f, o); err != nil {
		return nil, err
	}
	if err := compareStatement(ctx, f, page, found); err != nil {
		return nil, err
	}
	found.TreeRoot = found.Root.String()
	return found, nil
}

// statement begins the page for people anew; nil where there is none in the file,
// or another version has made it.
func (v *verification) statement(ctx context.Context, f *evidence.File) (*statement.Statement, error) {
	if !f.HasStatement() || f.Generator != engineVersion() {
		return nil, nil
	}
	w := evidence.Window{Tenant: f.Tenant}
	for _, t := range []struct {
		text *string
		at   *time.Time
	}{{f.From, &w.From}, {f.To, &w.To}} {
		if t.text != nil {
			*t.at, _ = engine.ParseTime(*t.text) // Open has checked it
		}
	}
	return statement.New(ctx, w, keptPolicies(f.Bundle))
}

// compareStatement holds the page that came with the file against the one that
// follows from it.
func compareStatement(ctx context.Context, f *evidence.File, page *statement.Statement, found *findings) error {
	had, have := sha256.New(), sha256.New()
	switch {
	case !f.HasStatement():
		return nil
	case page == nil:
		found.Notes = append(found.Notes, fmt.Sprintf("statement.html was made by %.80s, and this is %s: it was not compared with the rows", f.Generator, engineVersion()))
		return f.Statement(had)
	}
	if err := f.Statement(had); err != nil {
		return err
	}
	if err := page.Write(ctx, have, f.Manifest); err != nil {
		return err
	}
	if !bytes.Equal(had.Sum(nil), have.Sum(nil)) {
		found.Add(replay.Fault{Class: replay.Tampered, Leaf: -1, Text: "statement.html is not what the rows say"})
	}
	return nil
}

// keptPolicies compiles the bundles that are kept somewhere, or the one built in,
// which is the same where the hash is the same.
func keptPolicies(bundle func(context.Context, string) ([]byte, error)) replay.Bundles {
	return func(ctx context.Context, hash string) (*engine.Policy, error) {
		archive, err := bundle(ctx, hash)
		if errors.Is(err, evidence.ErrNoMember) || errors.Is(err, engine.ErrNotFound) {
			return builtInPolicy(ctx, hash)
		}
		if err != nil {
			return nil, err
		}
		return policyOf(ctx, hash, archive)
	}
}

func builtInPolicy(ctx context.Context, hash string) (*engine.Policy, error) {
	b, err := loadBundle("")
	if err != nil {
		return nil, err
	}
	if b.Hash != hash {
		return nil, errors.New("it is not here")
	}
	return compile(ctx, b)
}

// policyOf compiles the archives that are said to be of one bundle, the first
// that is.
func policyOf(ctx context.Context, hash string, archives ...[]byte) (*engine.Policy, error) {
	var errs []error
	for _, archive := range archives {
		b, err := bundles.Read(bytes.NewReader(archive), nil)
		if err == nil && b.Hash != hash {
			err = fmt.Errorf("what is kept under that hash is %s", b.Hash)
		}
		if err == nil {
			return compile(ctx, b)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// database verifies tenants in place.
func (v *verification) database(ctx context.Context) error {
	r, err := store.OpenReader(ctx, v.flags.databaseURL)
	if err != nil {
		return exitError{err, exitUnreadable}
	}
	defer r.Close()
	tenants, err := tenantsToVerify(ctx, r, v.flags.tenant, v.points)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		found, err := v.checkTenant(ctx, r, t)
		if err != nil {
			return unreadable(ctx, fmt.Errorf("tenant %s: %w", t, err))
		}
		if err := v.say(found); err != nil {
			return err
		}
	}
	return nil
}

// checkTenant holds the tables against the tree and, where they agree, what the
// rows say against one another.
func (v *verification) checkTenant(ctx context.Context, r *store.Reader, tenant string) (*findings, error) {
	found := &findings{Report: &replay.Report{Tenant: tenant}}
	checkpoints := v.given(tenant)
	var kept []audit.Kept
	for _, k := range checkpoints {
		kept = append(kept, k.Kept)
	}
	tree, err := audit.Verify(ctx, r, tenant, kept...)
	if err != nil {
		return nil, err
	}
	if found.Report = replay.Tree(tree); len(tree.Faults) > 0 || tree.Size == 0 || v.flags.treeOnly {
		found.TreeRoot = found.Root.String()
		return found, nil
	}
	bar := newProgress(v.stderr, "verify "+tenant, tree.Size)
	defer bar.Done()
	policies := func(ctx context.Context, hash string) (*engine.Policy, error) {
		archives, err := r.BundleArchives(ctx, hash)
		if errors.Is(err, engine.ErrNotFound) {
			return builtInPolicy(ctx, hash)
		}
		if err != nil {
			return nil, err
		}
		return policyOf(ctx, hash, archives...)
	}
	o := v.options(tenant, checkpoints, policies, bar)
	found.Report, err = replay.Check(ctx, o, func(ctx context.Context, each func(*evidence.Item) error) error {
		_, err := evidence.Collect(ctx, r, evidence.Window{Tenant: tenant}, func(i *evidence.Item) error { return each(i.Clone()) })
		return err
	})
	if err != nil {
		return nil, err
	}
	found.TreeRoot = found.Root.String()
	return found, nil
}
