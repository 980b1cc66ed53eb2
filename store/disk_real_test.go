package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// TestRealDiskFull puts the log's partitions on a file system of 16 MiB and
// fills it. It takes a superuser to mount one; for others the same error comes
// from TestReadOnlyAndDiskFull, and this says so.
func TestRealDiskFull(t *testing.T) {
	// Not t.TempDir: the server, another user, must be able to walk there.
	dir, err := os.MkdirTemp("", "tiergate-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Logf("no small file system can be mounted here (%v): only the simulated full disk was tried", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	cluster := storetest.NewCluster(t)
	url := cluster.Database(t)
	s := storetest.Open(t, url)
	var answered []*engine.Entry
	ask := func() error {
		e := storetest.Entry("acme", 0)
		err := s.Append(t.Context(), []*engine.Entry{e})[0].Err
		if err == nil {
			answered = append(answered, e)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	space := filepath.Join(dir, "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Own(dir, space); err != nil {
		t.Fatal(err)
	}
	cluster.Exec(t, "CREATE TABLESPACE small LOCATION '"+space+"'")
	db := storetest.DB(t, url)
	if _, err := db.Exec(`DO $$ DECLARE p regclass; BEGIN
		FOR p IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'remediation_gate_log'::regclass LOOP
			EXECUTE format('ALTER TABLE %s SET TABLESPACE small', p);
		END LOOP; END $$`); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Fatalf("on the small file system: %v", err)
	}
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 64<<20), 0o600); err == nil {
		t.Fatal("64 MiB fit into 16")
	}
	for range 2000 { // what the last pages still hold
		if err = ask(); err != nil {
			break
		}
	}
	if !errors.Is(err, engine.ErrUnavailable) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk has space again", func() bool { return ask() == nil })
	storetest.CheckLog(t, url, answered)
}
