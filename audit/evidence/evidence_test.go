package evidence_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/audit/replay/replaytest"
	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// write exports from the database at url.
func write(t testing.TB, url string, w evidence.Window) []byte {
	t.Helper()
	r, err := store.OpenReader(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	if _, err := evidence.Write(t.Context(), &out, r, evidence.Options{Window: w, Generator: "test"}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// compiled is each bundle's policy, made once for all tests.
var compiled sync.Map

func policies(f *evidence.File) replay.Bundles {
	return func(ctx context.Context, hash string) (*engine.Policy, error) {
		archive, err := f.Bundle(ctx, hash)
		if err != nil {
			return nil, err
		}
		key := string(archive)
		if p, ok := compiled.Load(key); ok && p.(*engine.Policy).ID().BundleHash == hash {
			return p.(*engine.Policy), nil
		}
		b, err := bundles.Read(bytes.NewReader(archive), nil)
		if err != nil {
			return nil, err
		}
		if b.Hash != hash {
			return nil, fmt.Errorf("what is kept under that hash is %s", b.Hash)
		}
		p, err := engine.CompilePolicy(ctx, engine.PolicySource{ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data})
		if err == nil {
			compiled.Store(key, p)
		}
		return p, err
	}
}

func open(t testing.TB, file []byte) *evidence.File {
	t.Helper()
	f, err := evidence.Open(context.Background(), bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// verify checks a file, with what others have kept of the tree.
func verify(file []byte, kept ...replay.Checkpoint) (*replay.Report, error) {
	f, err := evidence.Open(context.Background(), bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	return replay.CheckFile(context.Background(), f, replay.Options{Kept: kept, Bundles: policies(f)})
}

func clean(t testing.TB, file []byte, kept ...replay.Checkpoint) *replay.Report {
	t.Helper()
	r, err := verify(file, kept...)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Faults) > 0 {
		t.Fatalf("a clean file: %v", r.Faults)
	}
	return r
}

// checkpointOf is what somebody kept who saw the tree.
func checkpointOf(r *replay.Report) replay.Checkpoint {
	return replay.Checkpoint{Kept: audit.Kept{Size: r.Size, Root: r.Root}, Name: "a checkpoint"}
}

func TestWholeLog(t *testing.T) {
	for database, url := range map[string]string{"postgres": storetest.Postgres(t), "sqlite": storetest.SQLite(t)} {
		t.Run(database, func(t *testing.T) {
			replaytest.Log(t, url, 40)
			file := write(t, url, evidence.Window{Tenant: "acme"})
			r := clean(t, file)
			if want := int64(6*40 + 1); r.Rows["decision"] != want || r.Facts != want || r.Redecided != want || r.Rows["outcome"] != 1 || r.Rows["approval_event"] < 3 || r.Rows["policy_change"] != 3 {
				t.Errorf("%+v", r)
			}
			if again := write(t, url, evidence.Window{Tenant: "acme"}); !bytes.Equal(again, file) {
				t.Error("the same state gave two files")
			}
			if f := open(t, file); len(f.Bundles()) != 2 || f.FirstLeaf != 0 || f.EndLeaf != f.TreeSize {
				t.Errorf("%v %d %d", f.Bundles(), f.FirstLeaf, f.EndLeaf)
			}
			if other := clean(t, write(t, url, evidence.Window{Tenant: "globex"})); other.Rows["decision"] != 3 {
				t.Errorf("%+v", other)
			}
		})
	}
}

// Each window, also an empty one and ones beyond the log, can be shown to be whole.
func TestWindows(t *testing.T) {
	url := storetest.SQLite(t)
	phases := replaytest.Log(t, url, 20)
	times := append([]time.Time{{}, phases[0].Add(-time.Hour)}, phases...)
	times = append(times, phases[len(phases)-1].Add(time.Hour))
	whole := clean(t, write(t, url, evidence.Window{Tenant: "acme"}))
	seen := map[int64]bool{}
	for i, from := range times {
		for k, to := range append(times[1:], time.Time{}) {
			if !from.IsZero() && !to.IsZero() && !from.Before(to) {
				continue
			}
			r := clean(t, write(t, url, evidence.Window{Tenant: "acme", From: from, To: to}), checkpointOf(whole))
			if r.Size != whole.Size || r.Root != whole.Root || r.Checkpoints != 1 {
				t.Fatalf("%d-%d: another tree: %+v", i, k, r)
			}
			if r.Facts != r.Rows["decision"] || r.Redecided != r.Facts {
				t.Errorf("%d-%d: %+v", i, k, r)
			}
			seen[r.Rows["decision"]] = true
		}
	}
	// One phase and a decision on either side; nothing but the last decision; all.
	if !seen[22] || !seen[1] || !seen[121] {
		t.Errorf("windows of %v decisions", seen)
	}
}

// A window that leaves out rows of its own, or says that there are none.
func TestWindowTooNarrow(t *testing.T) {
	url := storetest.SQLite(t)
	phases := replaytest.Log(t, url, 20)
	f := open(t, write(t, url, evidence.Window{Tenant: "acme", From: phases[1], To: phases[3]}))
	items, members := itemsOf(t, f), f.MembersForTest(t)
	hide := func(from, to int64) (list []*evidence.Item) {
		for _, i := range items {
			if i.First >= from && i.First < to {
				i = &evidence.Item{First: i.First, Hashes: i.Hashes}
			}
			list = append(list, i)
		}
		return list
	}
	for name, c := range map[string]struct {
		first, end int64
		edit       func(*evidence.Manifest)
	}{
		"rows gone from the middle": {f.FirstLeaf + 5, f.FirstLeaf + 6, func(*evidence.Manifest) {}},
		"a later beginning":         {f.FirstLeaf, f.FirstLeaf + 3, func(m *evidence.Manifest) { m.FirstLeaf += 3 }},
		"an earlier end":            {f.EndLeaf - 3, f.EndLeaf, func(m *evidence.Manifest) { m.EndLeaf -= 3 }},
		"an earlier from":           {0, 0, func(m *evidence.Manifest) { m.From = text(phases[0].Add(-time.Hour)) }},
		"no from":                   {0, 0, func(m *evidence.Manifest) { m.From = nil }},
		"no to":                     {0, 0, func(m *evidence.Manifest) { m.To = nil }},
		"a later to":                {0, 0, func(m *evidence.Manifest) { m.To = text(phases[4]) }},
	} {
		m := *f.Manifest
		c.edit(&m)
		r, err := verify(evidence.Forge(t, m, hide(c.first, c.end), members))
		if err != nil || r.Found[replay.Incomplete] == 0 {
			t.Errorf("%s: %v %+v", name, err, r)
		}
	}
}

func text(at time.Time) *string {
	s := engine.FormatTime(at)
	return &s
}

func itemsOf(t testing.TB, f *evidence.File) (list []*evidence.Item) {
	t.Helper()
	if err := f.Items(context.Background(), func(i *evidence.Item) error { list = append(list, i); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// retree puts items in order and gives their leaves the hashes and the tree that
// follow from them, as somebody does who rewrites a log and its tree.
func retree(m *evidence.Manifest, items []*evidence.Item) []*evidence.Item {
	var edge audit.Edge
	for _, i := range items {
		if i.Hashes == nil {
			continue
		}
		i.First = edge.Size()
		if i.Leaf != nil {
			h := tlog.RecordHash(i.Leaf)
			i.Hashes = h[:]
		}
		for n := range i.Leaves() {
			edge.Add(tlog.Hash(i.Hashes[n*32:(n+1)*32]), nil)
		}
	}
	m.EndLeaf, m.TreeSize, m.TreeRoot = edge.Size(), edge.Size(), edge.Root().String()
	return items
}

func clone(items []*evidence.Item) (list []*evidence.Item) {
	for _, i := range items {
		list = append(list, i.Clone())
	}
	return list
}

// edit replaces text in an item's leaf, and says if there was none.
func edit(t testing.TB, i *evidence.Item, old, new string) {
	t.Helper()
	if !strings.Contains(string(i.Leaf), old) {
		t.Fatalf("no %s in %s", old, i.Leaf)
	}
	i.Leaf = []byte(strings.Replace(string(i.Leaf), old, new, 1))
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
