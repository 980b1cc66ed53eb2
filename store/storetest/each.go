package storetest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tiergate/tiergate/store"
)

// OpenFunc opens a store on one database, the same at every call, with the
// options changed by edits. The store is closed with the test.
type OpenFunc func(edits ...func(*store.Options)) *store.Store

// Each runs test once on PostgreSQL and once on SQLite, each on a fresh
// database.
func Each(t *testing.T, test func(t *testing.T, open OpenFunc)) {
	t.Run("postgres", func(t *testing.T) { test(t, On(t, Postgres(t))) })
	t.Run("sqlite", func(t *testing.T) { test(t, On(t, SQLite(t))) })
}

// SQLite returns the URL of a fresh SQLite file, which goes with the test.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "gate.db")
}

// On returns an OpenFunc for the database at url.
func On(t testing.TB, url string) OpenFunc {
	return func(edits ...func(*store.Options)) *store.Store {
		t.Helper()
		return Open(t, url, edits...)
	}
}

// Open opens a store on the database at url and closes it with the test. Its
// log is shown only when TIERGATE_TEST_LOG is set.
func Open(t testing.TB, url string, edits ...func(*store.Options)) *store.Store {
	t.Helper()
	opts := store.Options{URL: url, Logger: slog.New(slog.DiscardHandler)}
	if os.Getenv("TIERGATE_TEST_LOG") != "" {
		opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, edit := range edits {
		edit(&opts)
	}
	s, err := store.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}
