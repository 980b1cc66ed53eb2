package store_test

import (
	"errors"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

func TestReadOnlyAndDiskFull(t *testing.T) {
	url := storetest.Postgres(t)
	s := storetest.Open(t, url)
	db := storetest.DB(t, url)
	ask := func() error { return s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0].Err }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	exec := func(query string) {
		t.Helper()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	kick := func() {
		exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	}
	exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	kick()
	eventually(t, "read-only", func() bool { return errors.Is(ask(), engine.ErrUnavailable) })
	if s.Health(t.Context()).Writable {
		t.Error("read-only, and healthy")
	}
	exec(`SET default_transaction_read_only = off; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$`)
	kick()
	eventually(t, "writable again", func() bool { return ask() == nil })

	// A full disk, as the server reports it.
	exec(`SET default_transaction_read_only = off; CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$`)
	exec(`SET default_transaction_read_only = off; CREATE TRIGGER full_disk BEFORE INSERT ON remediation_action FOR EACH STATEMENT EXECUTE FUNCTION full_disk()`)
	if err := ask(); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("disk full: %v", err)
	}
	if s.Health(t.Context()).Writable {
		t.Error("disk full, and healthy")
	}
	exec(`SET default_transaction_read_only = off; DROP TRIGGER full_disk ON remediation_action`)
	if err := ask(); err != nil {
		t.Errorf("space again: %v", err)
	}
	storetest.CheckLog(t, url, nil)
}

func TestSQLiteDiskFull(t *testing.T) {
	url := storetest.SQLite(t)
	s := storetest.Open(t, url, store.WithPragma("&_pragma=max_page_count(90)"))
	var answered []*engine.Entry
	full := false
	for range 200 {
		r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]
		if r.Err == nil {
			answered = append(answered, r.Entry)
		} else if full = true; !errors.Is(r.Err, engine.ErrUnavailable) {
			t.Errorf("full: %v", r.Err)
		}
	}
	if !full || len(answered) == 0 {
		t.Fatalf("%d rows fit, full: %v", len(answered), full)
	}
	storetest.CheckLog(t, url, answered)
}
