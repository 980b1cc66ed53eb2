package notary

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

func newSigner(t *testing.T) *checkpoint.Signer {
	t.Helper()
	text, _, err := checkpoint.NewKey("gate.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.ParseSigner(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openFolder(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func newNotary(t *testing.T, o Options) *Notary {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func add(t *testing.T, s *store.Store, tenant string) {
	t.Helper()
	f, err := s.Facts(tenant, "block_ip", "host:a", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry(tenant, f.Epoch)})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
}

func turn(t *testing.T, n *Notary) {
	t.Helper()
	if err := n.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range n.outlets {
		if err := o.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// newest opens the checkpoint that the database has, and checks that the folder
// has the same.
func newest(t *testing.T, s *store.Store, dir, tenant string, keys checkpoint.Keys) checkpoint.Checkpoint {
	t.Helper()
	point, err := s.Checkpoint(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, tenant, "latest"))
	if err != nil || !bytes.Equal(text, point.Note) {
		t.Errorf("the folder has %q %v, the database %q", text, err, point.Note)
	}
	c, err := checkpoint.Open(point.Note, keys)
	if err != nil || c.Size != point.Size || c.Root != tlog.Hash(point.Root) || c.Tenant != tenant {
		t.Errorf("%+v %+v %v", c, point, err)
	}
	return c
}

func TestTurnSignsWhatHasGrown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s, dir, signer := open(), t.TempDir(), newSigner(t)
		n := newNotary(t, Options{Log: s, Signer: signer, Folder: openFolder(t, dir)})
		turn(t, n) // nothing is there
		add(t, s, "acme")
		add(t, s, "globex")
		turn(t, n)
		first := newest(t, s, dir, "acme", n.Keys())
		newest(t, s, dir, "globex", n.Keys())
		turn(t, n)
		add(t, s, "acme")
		turn(t, n)
		second := newest(t, s, dir, "acme", n.Keys())
		proof, err := s.TreeConsistency(t.Context(), "acme", first.Size, second.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(proof, second.Size, second.Root, first.Size, first.Root); err != nil {
			t.Error(err)
		}
		// Each once: nothing was signed where nothing had grown.
		names, _ := filepath.Glob(filepath.Join(dir, "acme", "*.notes"))
		history, err := os.ReadFile(names[0])
		if err != nil || strings.Count(string(history), "gate.example/acme\n") != 2 || len(names) != 1 {
			t.Errorf("%v: %s %v", names, history, err)
		}
		// Another gate on the same database, a key of its own, another folder.
		other := t.TempDir()
		m := newNotary(t, Options{Log: s, Signer: newSigner(t), Folder: openFolder(t, other)})
		turn(t, m)
		if text, err := os.ReadFile(filepath.Join(other, "acme", "latest")); err != nil {
			t.Error(err)
		} else if c, err := checkpoint.Open(text, m.Keys()); err != nil || c != second {
			t.Errorf("the other gate: %+v %v", c, err)
		}
		if c := newest(t, s, dir, "acme", n.Keys()); c != second {
			t.Errorf("the first checkpoint of a size stays: %+v", c)
		}
	})
}

// While a gate runs, a checkpoint follows a row within a second, and the last
// row before the gate ends gets one, too.
func TestRun(t *testing.T) {
	url := storetest.SQLite(t)
	s, dir := storetest.Open(t, url), t.TempDir()
	n := newNotary(t, Options{Log: s, Signer: newSigner(t), Folder: openFolder(t, dir)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	add(t, s, "acme")
	began := time.Now()
	for _, err := os.Stat(filepath.Join(dir, "acme", "latest")); err != nil; _, err = os.Stat(filepath.Join(dir, "acme", "latest")) {
		if time.Since(began) > 5*time.Second {
			t.Fatal("no checkpoint after 5 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	add(t, s, "acme")
	add(t, s, "globex")
	cancel()
	<-done
	for _, tenant := range []string{"acme", "globex"} {
		size, _, err := s.TreeHead(t.Context(), tenant)
		if c := newest(t, s, dir, tenant, n.Keys()); err != nil || c.Size != size {
			t.Errorf("%s: the last checkpoint is of %d leaves, the tree has %d %v", tenant, c.Size, size, err)
		}
	}
}

// moved is a database that becomes another one beneath a running gate.
type moved struct{ *store.Store }

// A copy that is put back while the gate runs stops the tenant, until an operator
// releases it; then the checkpoints begin anew.
func TestRestoredWhileRunning(t *testing.T) {
	for name, url := range map[string]string{"postgres": storetest.Postgres(t), "sqlite": storetest.SQLite(t)} {
		t.Run(name, func(t *testing.T) {
			before, err := store.Open(t.Context(), store.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			add(t, before, "acme")
			before.Close(t.Context())
			old := storetest.Copy(t, url)
			log, dir := &moved{storetest.Open(t, url)}, t.TempDir()
			registry := prometheus.NewRegistry()
			n := newNotary(t, Options{Log: log, Signer: newSigner(t), Folder: openFolder(t, dir), Registerer: registry})
			add(t, log.Store, "acme")
			add(t, log.Store, "globex")
			turn(t, n)
			lost := newest(t, log.Store, dir, "acme", n.Keys())

			log.Store = storetest.Open(t, old)
			for range 3 {
				turn(t, n)
			}
			for _, tenant := range []string{"acme", "globex"} { // behind, and gone
				c, err := log.Config(t.Context(), tenant)
				if err != nil || !c.Stopped || c.Epoch != 1 || c.ChangedBy != Actor {
					t.Errorf("%s after the restore: %+v %v", tenant, c, err)
				}
			}
			if got := gauge(t, registry, "tiergate_tenants_held"); got != 2 || n.Held() != 2 {
				t.Errorf("held: %v %d", got, n.Held())
			}
			list, err := log.History(t.Context(), "acme", engine.HistoryQuery{})
			if err != nil || len(list) != 1 || !strings.Contains(list[0].Reason, lost.String()) {
				t.Errorf("the record: %+v %v", list, err)
			}
			// More rows make it no better, not even as many as there were.
			for range 8 {
				add(t, log.Store, "acme")
				turn(t, n)
			}
			if _, err := log.Checkpoint(t.Context(), "acme"); err == nil {
				t.Error("a log that was set back got a checkpoint")
			}
			if _, err := log.SetStopped(t.Context(), "acme", false, engine.ChangeMeta{Actor: "olivia", Reason: "we restored the backup of Monday"}); err != nil {
				t.Fatal(err)
			}
			turn(t, n)
			anew := newest(t, log.Store, dir, "acme", n.Keys())
			if size, root, _ := log.TreeHead(t.Context(), "acme"); anew.Size != size || anew.Root != root || n.Held() != 1 {
				t.Errorf("after the release: %+v, held %d", anew, n.Held())
			}
			names, _ := filepath.Glob(filepath.Join(dir, "acme", "*.notes"))
			if history, _ := os.ReadFile(names[0]); !strings.Contains(string(history), lost.Root.String()) {
				t.Error("the lost checkpoint is not in the folder's history")
			}
		})
	}
}

func gauge(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			sum := 0.0
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// Compare knows a log that was rewritten by its root, however long it is now.
func TestCompareFindsRewrittenRows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s, signer := open(), newSigner(t)
		for range 3 {
			add(t, s, "acme")
		}
		for _, c := range []struct {
			name            string
			longer, shorter int64 // than the tree is
			as              int64 // whose root it has: that of the tree when it was shorter by so much
			held            int
		}{
			{"as it is", 0, 0, 0, 0},
			{"as it was", 0, 2, 2, 0},
			{"longer", 1, 0, 0, 1},
			{"the last row rewritten", 0, 0, 1, 1},
			{"an early row rewritten", 0, 2, 1, 1},
		} {
			size, _, err := s.TreeHead(t.Context(), "acme") // each stop is a leaf
			if err != nil {
				t.Fatal(err)
			}
			root, err := s.TreeRoot(t.Context(), "acme", size-c.as)
			if err != nil {
				t.Fatal(err)
			}
			f := openFolder(t, t.TempDir())
			note, err := checkpoint.Sign(signer, "acme", size+c.longer-c.shorter, root)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.write(t.Context(), "acme", note); err != nil {
				t.Fatal(err)
			}
			n := newNotary(t, Options{Log: s, Signer: signer, Folder: f})
			if err := n.Compare(t.Context()); err != nil || n.Held() != c.held {
				t.Errorf("%s: held %d %v", c.name, n.Held(), err)
			}
			if cfg, err := s.Config(t.Context(), "acme"); err != nil || cfg.Stopped != (c.held == 1) {
				t.Errorf("%s: stopped %v %v", c.name, cfg.Stopped, err)
			}
		}
	})
}

// What stands in the folder and cannot be trusted must not pass for nothing.
func TestCompareRefusesWhatItCannotTrust(t *testing.T) {
	s, old, now := storetest.Open(t, storetest.SQLite(t)), newSigner(t), newSigner(t)
	add(t, s, "acme")
	size, root, err := s.TreeHead(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(by *checkpoint.Signer, tenant string) []byte {
		note, err := checkpoint.Sign(by, tenant, size, root)
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	retired, err := checkpoint.ParseKeys([]byte(old.Verifier()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		latest  []byte
		retired checkpoint.Keys
		want    string
	}{
		{"signed by an unknown key", sign(old, "acme"), checkpoint.Keys{}, "--retired-keys"},
		{"signed by a retired key", sign(old, "acme"), retired, ""},
		{"signed by this key", sign(now, "acme"), checkpoint.Keys{}, ""},
		{"another tenant's", sign(now, "globex"), checkpoint.Keys{}, "of tenant globex"},
		{"empty", nil, checkpoint.Keys{}, "not a checkpoint"},
		{"damaged", bytes.Replace(sign(now, "acme"), []byte("acme"), []byte("acmf"), 1), checkpoint.Keys{}, "no signature"},
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "acme"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "acme", "latest"), c.latest, 0o644); err != nil {
			t.Fatal(err)
		}
		err := newNotary(t, Options{Log: s, Signer: now, Retired: c.retired, Folder: openFolder(t, dir)}).Compare(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// faulty is a database that does not answer now and then.
type faulty struct {
	moved
	down bool
}

func (f *faulty) Trees(ctx context.Context, after string, limit int, want func(string, int64) bool) ([]engine.Checkpoint, string, error) {
	if f.down {
		return nil, "", engine.ErrUnavailable
	}
	return f.moved.Trees(ctx, after, limit, want)
}

// A database that was away may come back as an older copy that has grown past the
// last checkpoint meanwhile.
func TestRestoredAndOutgrown(t *testing.T) {
	url := storetest.SQLite(t)
	before, err := store.Open(t.Context(), store.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	add(t, before, "acme")
	before.Close(t.Context())
	old := storetest.Copy(t, url)
	log := &faulty{moved: moved{storetest.Open(t, url)}}
	n := newNotary(t, Options{Log: log, Signer: newSigner(t)})
	add(t, log.Store, "acme")
	turn(t, n)
	log.down = true
	if err := n.Turn(t.Context()); err == nil {
		t.Error("nothing was read, and that was no error")
	}
	log.down, log.Store = false, storetest.Open(t, old)
	for range 4 {
		add(t, log.Store, "acme")
	}
	turn(t, n)
	if n.Held() != 1 {
		t.Error("the copy passed for the log that was signed")
	}
}
