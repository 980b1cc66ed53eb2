package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Reader reads a gate's database beside the gate: it creates and changes
// nothing, takes no lock of ours, and needs no more than SELECT.
type Reader struct {
	db         *sql.DB
	sqlite     bool
	place      string
	hasBundles bool
}

// OpenReader opens the database at url, postgres://… or sqlite:FILE, for
// reading. It fails where there are no tables of ours. Close the Reader when
// done. A URL that cannot be one is an ErrURL.
func OpenReader(ctx context.Context, url string) (*Reader, error) {
	r, err := dialReader(url)
	if err != nil {
		return nil, err
	}
	if err := r.db.PingContext(ctx); err != nil {
		r.Close()
		if r.sqlite {
			return nil, fmt.Errorf("read %s: %w", r.place, err)
		}
		return nil, unreachable(r.place, err)
	}
	var n int
	err = r.db.QueryRowContext(ctx, `SELECT 1 FROM remediation_gate_log LIMIT 1`).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		r.Close()
		return nil, badURL("%s has no gate log that this role may read: %w. Is it the gate's database, and does the role have SELECT?", r.place, err)
	}
	r.hasBundles = r.has(ctx, "policy_bundle") && r.has(ctx, "policy_bundle_copy")
	return r, nil
}

// Reader reads through the store's own connections; it is closed with the store.
func (s *Store) Reader(ctx context.Context) *Reader {
	_, pg := s.db.(*postgres)
	r := &Reader{db: s.db.reads(), sqlite: !pg, place: s.db.where()}
	r.hasBundles = r.has(ctx, "policy_bundle") && r.has(ctx, "policy_bundle_copy")
	return r
}

func dialReader(raw string) (*Reader, error) {
	if file, ok := strings.CutPrefix(raw, "sqlite:"); ok {
		return dialSQLiteReader(file)
	}
	if !isPostgresURL(raw) {
		return nil, badURL("the database URL must begin with postgres:// or sqlite:")
	}
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	c, err := newConnector(withRuntime(u, map[string]string{
		"default_transaction_read_only": "on",
		"statement_timeout":             "60000",
		"lock_timeout":                  "4000",
	}), patientDialer{netDialer{}})
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(4)
	return &Reader{db: db, place: place(u)}, nil
}

func dialSQLiteReader(file string) (*Reader, error) {
	path, err := filepath.Abs(strings.TrimPrefix(file, "//"))
	if err != nil || file == "" {
		return nil, badURL("sqlite: wants a file, for example sqlite:tiergate.db")
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, badURL("there is no SQLite file %s", path)
	}
	if err := mayBeSQLite(path); err != nil {
		return nil, badURL("the SQLite file %s: %w", path, err)
	}
	dsn := (&url.URL{Scheme: "file", Path: path}).String() + "?mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("read the SQLite file %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	return &Reader{db: db, sqlite: true, place: "the SQLite file " + path}, nil
}

// Close ends the Reader.
func (r *Reader) Close() error { return r.db.Close() }

// text adapts a statement written for PostgreSQL, as sqliteDB.text does.
func (r *Reader) text(query string) string {
	if r.sqlite {
		return strings.ReplaceAll(query, "$", "?")
	}
	return query
}

func (r *Reader) cannotRead(what string, err error) error {
	return fmt.Errorf("read %s from %s: %w", what, r.place, err)
}
