package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// PolicyNews gets a value when which bundles the deployment runs may have
// changed: read PolicyHead. News can be lost with a connection, so whoever
// follows also reads it every second or so.
func (s *Store) PolicyNews() <-chan struct{} { return s.news }

func (s *Store) policyNews() {
	select {
	case s.news <- struct{}{}:
	default: // one waits already
	}
}

const policyHeadColumns = `change_id, policy_epoch, coalesce(active_hash, ''), coalesce(shadow_hash, '')`

func scanPolicyHead(row *sql.Row) (h engine.PolicyHead, err error) {
	err = row.Scan(&h.ChangeID, &h.Epoch, &h.Active, &h.Shadow)
	return h, err
}

// PolicyHead returns which bundles the deployment runs.
func (s *Store) PolicyHead(ctx context.Context) (engine.PolicyHead, error) {
	h, err := scanPolicyHead(s.db.reads().QueryRowContext(ctx, `SELECT `+policyHeadColumns+` FROM policy_head`))
	if err != nil {
		return engine.PolicyHead{}, s.cannotRead("the active policy", err)
	}
	return h, nil
}

const bundleColumns = `change_id, bundle_hash, revision, uploaded_by, uploaded_at,
	EXISTS (SELECT 1 FROM policy_change c WHERE c.bundle_hash = policy_bundle.bundle_hash AND c.kind IN ('seed', 'activate', 'rollback'))`

func scanBundle(scan func(...any) error) (b engine.KeptBundle, err error) {
	var at looseStamp
	err = scan(&b.ID, &b.Hash, &b.Revision, &b.UploadedBy, &at, &b.WasActive)
	b.UploadedAt = time.Time(at)
	return b, err
}

// Bundle returns a kept bundle. Returns engine.ErrNotFound where none has that
// hash.
func (s *Store) Bundle(ctx context.Context, hash string) (engine.KeptBundle, error) {
	b, err := scanBundle(s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT `+bundleColumns+` FROM policy_bundle WHERE bundle_hash = $1`), hash).Scan)
	if errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err) {
		return engine.KeptBundle{}, fmt.Errorf("bundle %.80q: %w", hash, engine.ErrNotFound)
	}
	if err != nil {
		return engine.KeptBundle{}, s.cannotRead("a bundle", err)
	}
	return b, nil
}

// Bundles returns kept bundles, newest first, only those with a smaller ID
// than before where that is not 0.
func (s *Store) Bundles(ctx context.Context, before int64, limit int) ([]engine.KeptBundle, error) {
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+bundleColumns+` FROM policy_bundle
		WHERE CAST($1 AS bigint) = 0 OR change_id < $1 ORDER BY change_id DESC LIMIT $2`), before, limit)
	if err != nil {
		return nil, s.cannotRead("the bundles", err)
	}
	defer rows.Close()
	list := []engine.KeptBundle{}
	for rows.Next() {
		b, err := scanBundle(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("the bundles", err)
		}
		list = append(list, b)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("the bundles", err)
	}
	return list, nil
}

// BundleArchives returns the bytes of a kept bundle as they were uploaded,
// newest first: more than one where it was signed anew. Returns
// engine.ErrNotFound where none has that hash.
func (s *Store) BundleArchives(ctx context.Context, hash string) ([][]byte, error) {
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT archive FROM (
			SELECT change_id, archive FROM policy_bundle WHERE bundle_hash = $1
			UNION ALL SELECT change_id, archive FROM policy_bundle_copy WHERE bundle_hash = $1) a ORDER BY change_id DESC`), hash)
	if err != nil && !s.matchesNothing(err) {
		return nil, s.cannotRead("a bundle", err)
	}
	var list [][]byte
	if err == nil {
		defer rows.Close()
		for rows.Next() {
			var archive []byte
			if err := rows.Scan(&archive); err != nil {
				return nil, s.cannotRead("a bundle", err)
			}
			list = append(list, archive)
		}
		if err := rows.Err(); err != nil {
			return nil, s.cannotRead("a bundle", err)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("bundle %.80q: %w", hash, engine.ErrNotFound)
	}
	return list, nil
}

// RevisionHolder returns the hash of a bundle that was active as that
// revision, other than the one with hash; "" where there is none.
func (s *Store) RevisionHolder(ctx context.Context, revision, hash string) (string, error) {
	var other string
	err := s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT b.bundle_hash FROM policy_bundle b JOIN policy_change c ON c.bundle_hash = b.bundle_hash
		WHERE b.revision = $1 AND b.bundle_hash <> $2 AND c.kind IN ('seed', 'activate', 'rollback') LIMIT 1`), revision, hash).Scan(&other)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", s.cannotRead("the bundles", err)
	}
	return other, nil
}

// Proof returns what was found out about a bundle under an engine version.
// Returns engine.ErrNotFound where nothing was yet.
func (s *Store) Proof(ctx context.Context, hash, engineVersion string) (engine.Proof, error) {
	p := engine.Proof{BundleHash: hash, EngineVersion: engineVersion}
	var report string
	var at looseStamp
	err := s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT holds, report, at FROM policy_proof WHERE bundle_hash = $1 AND engine_version = $2`),
		hash, engineVersion).Scan(&p.Holds, &report, &at)
	if errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err) {
		return engine.Proof{}, fmt.Errorf("proof of bundle %.80q: %w", hash, engine.ErrNotFound)
	}
	if err != nil {
		return engine.Proof{}, s.cannotRead("a proof", err)
	}
	p.Report, p.At = []byte(report), time.Time(at)
	return p, nil
}

// PolicyHistory returns the policy changes that q selects, oldest first. A
// Limit of 0 is 1000.
func (s *Store) PolicyHistory(ctx context.Context, q engine.PolicyHistoryQuery) ([]engine.PolicyChange, error) {
	if q.Limit <= 0 {
		q.Limit = page
	}
	f := filter{text: []string{`change_id > $1`}, args: []any{q.AfterID}}
	if !q.From.IsZero() {
		f.add(`at >= ?`, ceilTime(q.From))
	}
	if !q.To.IsZero() {
		f.add(`at < ?`, ceilTime(q.To))
	}
	query := f.sql(`SELECT change_id, policy_epoch, kind, bundle_hash, before, after, actor, reason, at FROM policy_change`, `ORDER BY change_id LIMIT ?`, q.Limit)
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(query), f.args...)
	if err != nil {
		return nil, s.cannotRead("the policy's history", err)
	}
	defer rows.Close()
	list := []engine.PolicyChange{}
	for rows.Next() {
		var c engine.PolicyChange
		var before, after string
		var at looseStamp
		if err := rows.Scan(&c.ID, &c.Epoch, &c.Kind, &c.BundleHash, &before, &after, &c.Actor, &c.Reason, &at); err != nil {
			return nil, s.cannotRead("the policy's history", err)
		}
		c.Before, c.After, c.At = []byte(before), []byte(after), time.Time(at)
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("the policy's history", err)
	}
	return list, nil
}
