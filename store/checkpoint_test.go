package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

func TestCheckpoints(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		ctx := t.Context()
		for i, tenant := range []string{"acme", "acme", "globex", "initech"} {
			if r := s.Append(ctx, []*engine.Entry{storetest.Entry(tenant, 0)})[0]; r.Err != nil {
				t.Fatal(i, r.Err)
			}
		}
		if _, err := s.Checkpoint(ctx, "acme"); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("before the first one: %v", err)
		}
		// All trees, a page at a time; want chooses.
		var names []string
		var trees []engine.Checkpoint
		for after := ""; ; {
			list, last, err := s.Trees(ctx, after, 2, func(tenant string, _ int64) bool { return tenant != "globex" })
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				names, trees = append(names, c.TenantID), append(trees, c)
				size, root, err := s.TreeHead(ctx, c.TenantID)
				if err != nil || size != c.Size || root != tlog.Hash(c.Root) {
					t.Errorf("%s: %d %v, the head is %d %v %v", c.TenantID, c.Size, c.Root, size, root, err)
				}
			}
			if after = last; after == "" {
				break
			}
		}
		if !slices.Equal(names, []string{"acme", "initech"}) {
			t.Fatalf("trees of %v", names)
		}
		trees[0].Note, trees[1].Note = []byte("first\n"), []byte("i\n")
		second := trees[0]
		second.Note = []byte("of another gate\n")
		small := trees[0]
		small.Size, small.Note = 1, []byte("small\n")
		for _, list := range [][]engine.Checkpoint{trees, {second, small}, nil} {
			if err := s.AddCheckpoints(ctx, list); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := s.Checkpoint(ctx, "acme"); err != nil || string(c.Note) != "first\n" || c.Size != trees[0].Size || c.Root != trees[0].Root {
			t.Errorf("the newest: %+v %v", c, err)
		}
		// Leaves come one by one as they were hashed.
		size := trees[0].Size
		for i := range size {
			leaf, err := s.Leaf(ctx, "acme", i)
			if err != nil {
				t.Fatal(err)
			}
			proof, err := s.TreeProof(ctx, "acme", i, size)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(proof, size, trees[0].Root, i, leaf); err != nil {
				t.Errorf("leaf %d: %v", i, err)
			}
		}
		for _, i := range []int64{-1, size, 1 << 60} {
			if _, err := s.Leaf(ctx, "acme", i); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("leaf %d: %v", i, err)
			}
		}
		storetest.CheckLog(t, url, nil)
	})
}

// What is signed stays, also for the gate's own role and for REPLACE.
func TestCheckpointsAreAppendOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		if err := s.AddCheckpoints(t.Context(), []engine.Checkpoint{{TenantID: "acme", Size: 1, Note: []byte("x\n")}}); err != nil {
			t.Fatal(err)
		}
		db := storetest.DB(t, url)
		db.SetMaxOpenConns(1)
		statements := []string{`UPDATE tree_checkpoint SET note = 'y'`, `DELETE FROM tree_checkpoint`}
		if strings.HasPrefix(url, "sqlite:") {
			statements = append(statements, `REPLACE INTO tree_checkpoint SELECT tenant_id, tree_size, root, 'y', at FROM tree_checkpoint`)
		} else {
			statements = append(statements, `TRUNCATE tree_checkpoint`)
		}
		for _, q := range statements {
			if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", q, err)
			}
		}
		if strings.HasPrefix(url, "sqlite:") {
			return
		}
		for _, q := range statements {
			if _, err := db.Exec(`SET ROLE tiergate_writer; ` + q); err == nil || !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("as the writer, %s: %v", q, err)
			}
		}
	})
}

func TestSetback(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		ctx := t.Context()
		const reason = "the log was set back"
		stop := func(stopped bool, reason string) {
			t.Helper()
			if _, err := s.SetStopped(ctx, "acme", stopped, engine.ChangeMeta{Actor: "tiergate", Reason: reason}); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		look := func() {
			t.Helper()
			b, err := s.Setback(ctx, "acme", reason)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(int(b)))
		}
		look()
		stop(true, "another one")
		stop(false, "another one")
		look()
		stop(true, reason)
		look()
		stop(true, "again, by hand")
		look()
		stop(false, "seen")
		look()
		stop(true, "much later")
		look()
		if s := strings.Join(got, ""); s != "001122" {
			t.Errorf("the steps were %s", s)
		}
	})
}
