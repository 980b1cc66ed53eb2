package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
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

// Copy copies a database that nobody is connected to, and returns the copy's URL.
func Copy(t testing.TB, source string) string {
	t.Helper()
	if file, ok := strings.CutPrefix(source, "sqlite:"); ok {
		copied := SQLite(t)
		if _, err := DB(t, source).Exec(`VACUUM INTO ?`, strings.TrimPrefix(copied, "sqlite:")); err != nil {
			t.Fatalf("copy %s: %v", file, err)
		}
		return copied
	}
	u, err := url.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	c := Shared(t)
	c.mu.Lock()
	c.next++
	name := fmt.Sprintf("gate_%d", c.next)
	c.mu.Unlock()
	c.Exec(t, "CREATE DATABASE "+name+" TEMPLATE "+strings.TrimPrefix(u.Path, "/"))
	t.Cleanup(func() { c.Exec(t, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return c.URL(name)
}
