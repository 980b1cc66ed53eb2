package evidence_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/audit/replay/replaytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// sample is one log for all attacks, and a checkpoint that somebody kept of it.
type sample struct {
	file, other []byte // of acme and of globex
	kept        replay.Checkpoint
	size        int64
}

var (
	sampleOnce sync.Once
	theSample  sample
)

func sampleLog(t testing.TB) sample {
	t.Helper()
	sampleOnce.Do(func() {
		url := storetest.SQLite(t)
		replaytest.Log(t, url, 12)
		theSample.file = write(t, url, evidence.Window{Tenant: "acme"})
		theSample.other = write(t, url, evidence.Window{Tenant: "globex"})
		r := clean(t, theSample.file)
		theSample.kept, theSample.size = checkpointOf(r), r.Size
	})
	if theSample.file == nil {
		t.Fatal("the log of these tests could not be made: see the first of them")
	}
	return theSample
}

// decisions are the places of decisions among items.
func decisions(items []*evidence.Item) (at []int) {
	for n, i := range items {
		if i.Kind == audit.Decision {
			at = append(at, n)
		}
	}
	return at
}

// find is the first decision that has all of these in its leaf.
func find(t testing.TB, items []*evidence.Item, texts ...string) int {
	t.Helper()
	for _, n := range decisions(items) {
		if !slices.ContainsFunc(texts, func(s string) bool { return !bytes.Contains(items[n].Leaf, []byte(s)) }) {
			return n
		}
	}
	t.Fatalf("no decision with %q", texts)
	return 0
}

func withInput(t testing.TB, i *evidence.Item, old, new string) {
	t.Helper()
	if !bytes.Contains(i.Input, []byte(old)) {
		t.Fatalf("no %s in %s", old, i.Input)
	}
	before := digest(i.Input)
	i.Input = bytes.Replace(i.Input, []byte(old), []byte(new), 1)
	edit(t, i, before, digest(i.Input))
}

// The attacks that are found without anything that was kept elsewhere: the
// tree, the manifest and every digest are made anew around each of them, so only
// what the rows say against one another tells.
func TestAttacksWithEverythingRecomputed(t *testing.T) {
	s := sampleLog(t)
	f := open(t, s.file)
	original, members := itemsOf(t, f), f.MembersForTest(t)
	for name, attack := range map[string]struct {
		do   func(items []*evidence.Item) []*evidence.Item
		want string
	}{
		"the decision alone": {func(items []*evidence.Item) []*evidence.Item {
			edit(t, items[find(t, items, `"decision":"queued_approval"`, `"rule":"no_whitelist_match"`)], `"decision":"queued_approval"`, `"decision":"auto"`)
			return items
		}, "decided again, decision is"},
		"the rationale": {func(items []*evidence.Item) []*evidence.Item {
			edit(t, items[find(t, items, `"rationale":"`)], `"rationale":"`, `"rationale":"x`)
			return items
		}, "decided again, rationale is"},
		"how it is undone": {func(items []*evidence.Item) []*evidence.Item {
			edit(t, items[find(t, items, `"rollback":"`)], `"rollback":"`, `"rollback":"x`)
			return items
		}, "how the action is undone"},
		"a revision": {func(items []*evidence.Item) []*evidence.Item {
			edit(t, items[find(t, items, `"policy_revision":"1.1.0"`)], `"policy_revision":"1.1.0"`, `"policy_revision":"9.9.9"`)
			return items
		}, "names revision"},
		"the target": {func(items []*evidence.Item) []*evidence.Item {
			edit(t, items[find(t, items, `"target":"host:`)], `"target":"host:`, `"target":"most:`)
			return items
		}, "of the input is not the row's"},
		"an input and its row, to another tier": {func(items []*evidence.Item) []*evidence.Item {
			i := items[find(t, items, `"maturity_tier":0`)]
			withInput(t, i, `"maturity_tier":0`, `"maturity_tier":4`)
			edit(t, i, `"maturity_tier":0`, `"maturity_tier":4`)
			return items
		}, "at epoch 0 the tenant was at tier 0"},
		"the input alone, to another tier": {func(items []*evidence.Item) []*evidence.Item {
			withInput(t, items[find(t, items, `"maturity_tier":0`)], `"maturity_tier":0`, `"maturity_tier":4`)
			return items
		}, "another tier than 0"},
		"a stop taken out of an input": {func(items []*evidence.Item) []*evidence.Item {
			withInput(t, items[find(t, items, `"rule":"stopped"`)], `"stopped":true`, `"stopped":false`)
			return items
		}, "was stopped or not"},
		"an override taken out of an input": {func(items []*evidence.Item) []*evidence.Item {
			i := items[find(t, items, `"rule":"block_override"`)]
			_, rest, _ := strings.Cut(string(i.Input), `"overrides":[`)
			list, _, _ := strings.Cut(rest, `],"request"`)
			withInput(t, i, list, "")
			return items
		}, "the overrides in the input"},
		"a whitelist entry dropped from an input": {func(items []*evidence.Item) []*evidence.Item {
			i := items[find(t, items, `"rule":"whitelist_match"`)]
			_, list, _ := strings.Cut(string(i.Input), `"whitelist":[`)
			withInput(t, i, strings.TrimSuffix(list, "]}"), "")
			return items
		}, "matched, and is not in the input"},
		"a whitelist entry made up in an input": {func(items []*evidence.Item) []*evidence.Item {
			withInput(t, items[find(t, items, `"rule":"no_whitelist_match"`)], `"whitelist":[]`, `"whitelist":[{"action_type":"isolate_host","constraints":{"target_prefix":"host:"},"expires_at":"2099-01-01T00:00:00.000Z","id":"0000"}]`)
			return items
		}, "did not stand so"},
		"a member more in an input": {func(items []*evidence.Item) []*evidence.Item {
			withInput(t, items[find(t, items, `"leaf"`)], `{"now"`, `{"and":1,"now"`)
			return items
		}, "none that a gate makes"},
		"a middle row taken out": {func(items []*evidence.Item) []*evidence.Item {
			n := decisions(items)[30]
			return append(items[:n:n], items[n+1:]...)
		}, "it was leaf"},
		"a middle row taken out and all after it numbered anew": {func(items []*evidence.Item) []*evidence.Item {
			n := decisions(items)[30]
			return renumber(t, append(items[:n:n], items[n+1:]...))
		}, "was to be next"},
		"two rows swapped": {func(items []*evidence.Item) []*evidence.Item {
			d := decisions(items)
			a, b := d[10], d[11]
			items[a], items[b] = items[b], items[a]
			return items
		}, "it was leaf"},
		"a row copied in": {func(items []*evidence.Item) []*evidence.Item {
			n := decisions(items)[10]
			return renumber(t, append(items[:n:n], append([]*evidence.Item{items[n].Clone()}, items[n:]...)...))
		}, "was to be next"},
		"another tenant's row": {func(items []*evidence.Item) []*evidence.Item {
			others := itemsOf(t, open(t, s.other))
			items[decisions(items)[5]] = others[decisions(others)[1]]
			return items
		}, "it is a row of tenant"},
		"a change of configuration taken out": {func(items []*evidence.Item) []*evidence.Item {
			n := slices.IndexFunc(items, func(i *evidence.Item) bool { return i.Kind == audit.ConfigChange })
			return renumber(t, append(items[:n:n], items[n+1:]...))
		}, "epoch 1 was to be next"},
		"a change of configuration edited": {func(items []*evidence.Item) []*evidence.Item {
			n := slices.IndexFunc(items, func(i *evidence.Item) bool { return i.Kind == audit.ConfigChange })
			edit(t, items[n], `{\"maturity_tier\":4`, `{\"maturity_tier\":3`)
			return items
		}, "it says tier 4, and at epoch"},
		"a change that nobody can make": {func(items []*evidence.Item) []*evidence.Item {
			n := slices.IndexFunc(items, func(i *evidence.Item) bool { return i.Kind == audit.ConfigChange })
			edit(t, items[n], `"kind":"config"`, `"kind":"override_set"`)
			return items
		}, "it is no change that a gate has made"},
		"an activation taken out": {func(items []*evidence.Item) []*evidence.Item {
			n := slices.IndexFunc(items, func(i *evidence.Item) bool { return bytes.Contains(i.Leaf, []byte(`"kind":"activate"`)) })
			return renumber(t, append(items[:n:n], items[n+1:]...))
		}, "names epoch 2 of the policy, and was committed under 1"},
		"a bundle's name in a row": {func(items []*evidence.Item) []*evidence.Item {
			i := items[find(t, items, `"policy_epoch":1`)]
			_, hash, _ := strings.Cut(string(i.Leaf), `"bundle_hash":"`)
			edit(t, i, hash[:71], "sha256:"+strings.Repeat("0", 64))
			return items
		}, "it names bundle sha256:0000"},
		"an epoch": {func(items []*evidence.Item) []*evidence.Item {
			edit(t, items[find(t, items, `"config_epoch":0`)], `"config_epoch":0`, `"config_epoch":1`)
			return items
		}, "names epoch 1 of the configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			m := *f.Manifest
			items := retree(&m, attack.do(clone(original)))
			forged := evidence.Forge(t, m, items, members)
			r, err := verify(forged)
			if err != nil {
				t.Fatal(err)
			}
			if r.Found[replay.Tampered] == 0 || !slices.ContainsFunc(r.Faults, func(f replay.Fault) bool { return strings.Contains(f.String(), attack.want) }) {
				t.Errorf("want %q: %v", attack.want, r.Faults)
			}
			// Whoever kept a checkpoint sees it in any case.
			if r, err := verify(forged, s.kept); err != nil || !slices.ContainsFunc(r.Faults, func(f replay.Fault) bool {
				return strings.Contains(f.Text, "by a checkpoint")
			}) {
				t.Errorf("with a checkpoint: %v %v", err, r)
			}
		})
	}
}

// renumber gives leaves the leaf_index of their place.
func renumber(t testing.TB, items []*evidence.Item) []*evidence.Item {
	t.Helper()
	at := int64(0)
	for _, i := range items {
		if i.Hashes == nil {
			continue
		}
		if i.Kind != audit.PolicyChange && i.Kind != audit.Genesis {
			edit(t, i, fmt.Sprintf(`"leaf_index":%d,`, i.Kind.Index(i.Leaf)), fmt.Sprintf(`"leaf_index":%d,`, at))
		}
		at += i.Leaves()
	}
	return items
}

// A rewrite in which everything fits: from row k on, all is made anew. Only what
// was kept elsewhere tells.
func TestRewriteThatFits(t *testing.T) {
	s := sampleLog(t)
	f := open(t, s.file)
	items := clone(itemsOf(t, f))
	i := items[find(t, items, `"principal":"agent-1"`)]
	edit(t, i, `"principal":"agent-1"`, `"principal":"nobody"`)
	m := *f.Manifest
	forged := evidence.Forge(t, m, retree(&m, items), f.MembersForTest(t))
	// Forge made the manifest from a copy: the tree is that of retree.
	if r, err := verify(forged); err == nil && len(r.Faults) > 0 {
		t.Errorf("without a checkpoint nothing can tell, and something did: %v", r.Faults)
	}
	r, err := verify(forged, s.kept)
	if err != nil || r.Found[replay.Tampered] != 1 || !strings.Contains(r.Faults[0].Text, "rewritten") {
		t.Errorf("%v %+v", err, r)
	}
}

// The tail, or all of it, cut off.
func TestTailCutOff(t *testing.T) {
	s := sampleLog(t)
	f := open(t, s.file)
	items, members := itemsOf(t, f), f.MembersForTest(t)
	for _, left := range []int{0, 1, len(items) / 2, len(items) - 1} {
		m := *f.Manifest
		r, err := verify(evidence.Forge(t, m, items[:left], members))
		if err != nil || r.Found[replay.Incomplete] == 0 || r.Found[replay.Tampered] > 0 {
			t.Errorf("%d lines left and the manifest as it was: %v %+v", left, err, r)
		}
		cut := retree(&m, clone(items[:left]))
		if r, err = verify(evidence.Forge(t, m, cut, members), s.kept); err != nil || r.Found[replay.Incomplete] == 0 || r.Found[replay.Tampered] > 0 {
			t.Errorf("%d lines left and all made anew: %v %+v", left, err, r)
		}
	}
}

// What is beside the rows: a bundle swapped, an input or parameters edited or gone.
func TestBesideTheRows(t *testing.T) {
	s := sampleLog(t)
	f := open(t, s.file)
	original := itemsOf(t, f)
	bundle := func(n int) string { return "bundles/" + strings.TrimPrefix(f.Bundles()[n], "sha256:") + ".tar.gz" }
	for name, c := range map[string]struct {
		do   func(items []*evidence.Item, members map[string][]byte)
		want replay.Class
		text string
	}{
		"a bundle swapped":  {func(_ []*evidence.Item, members map[string][]byte) { members[bundle(0)] = members[bundle(1)] }, replay.Incomplete, "what is kept under that hash is"},
		"a bundle gone":     {func(_ []*evidence.Item, members map[string][]byte) { delete(members, bundle(0)) }, replay.Incomplete, "cannot be decided again"},
		"a bundle of noise": {func(_ []*evidence.Item, members map[string][]byte) { members[bundle(0)] = []byte("noise") }, replay.Incomplete, "cannot be decided again"},
		"an input edited": {func(items []*evidence.Item, _ map[string][]byte) {
			i := items[decisions(items)[7]]
			i.Input = bytes.Replace(i.Input, []byte("host:"), []byte("ghost:"), 1)
			i.Input = append(i.Input[:len(i.Input)-1], ' ', '}')
		}, replay.Tampered, "the input is not the one that the policy saw"},
		"an input gone": {func(items []*evidence.Item, _ map[string][]byte) { items[decisions(items)[7]].Input = nil }, replay.Incomplete, "its input is not here"},
		"parameters edited": {func(items []*evidence.Item, _ map[string][]byte) {
			for _, i := range items {
				if i.Parameters != nil {
					i.Parameters = []byte(`{"said":2}`)
				}
			}
		}, replay.Tampered, "the parameters are not those"},
		"a row's hash only": {func(items []*evidence.Item, _ map[string][]byte) {
			i := items[decisions(items)[7]]
			edit(t, i, `"actor":"`, `"actor":"x`)
		}, replay.Tampered, "the row is not as it was written"},
		"a hash": {func(items []*evidence.Item, _ map[string][]byte) { items[9].Hashes[3]++ }, replay.Tampered, "the row is not as it was written"},
	} {
		items, members := clone(original), f.MembersForTest(t)
		c.do(items, members)
		r, err := verify(evidence.Forge(t, *f.Manifest, items, members))
		if err != nil || r.Found[c.want] == 0 || !slices.ContainsFunc(r.Faults, func(f replay.Fault) bool { return strings.Contains(f.Text, c.text) }) {
			t.Errorf("%s: %v %+v", name, err, r)
		}
	}
}

// 10,000 random single edits of a file: each is found, and none makes the
// verifier fall over.
func TestRandomEdits(t *testing.T) {
	s := sampleLog(t)
	rnd := rand.New(rand.NewPCG(2026, 11))
	edits := 10_000
	if testing.Short() {
		edits = 500
	}
	for n := range edits {
		b := bytes.Clone(s.file)
		at := rnd.IntN(len(b))
		switch rnd.IntN(4) {
		case 0:
			b[at] ^= 1 << rnd.IntN(8)
		case 1:
			b[at] += byte(1 + rnd.IntN(255))
		case 2:
			b = append(b[:at], b[at+1:]...)
		case 3:
			b = append(b[:at], append([]byte{byte(rnd.IntN(256))}, b[at:]...)...)
		}
		if r, err := verify(b); err == nil && len(r.Faults) == 0 {
			t.Fatalf("edit %d, at byte %d of %d, was missed", n, at, len(b))
		}
	}
}

// Random single edits inside the lines, with the manifest made anew around them:
// found with what was kept of the tree, whatever they hit.
func TestRandomEditsOfLines(t *testing.T) {
	s := sampleLog(t)
	f := open(t, s.file)
	items, members := itemsOf(t, f), f.MembersForTest(t)
	rnd := rand.New(rand.NewPCG(7, 11))
	edits := 1500
	if testing.Short() {
		edits = 100
	}
	odd := 0
	for range edits {
		n := rnd.IntN(len(items))
		line := items[n].Line()
		at := rnd.IntN(len(line))
		line[at] ^= 1 << rnd.IntN(7)
		i, err := evidence.ParseItem(line)
		if err != nil {
			odd++
			continue
		}
		i.First = items[n].First
		list := slices.Clone(items)
		list[n] = i
		if r, err := verify(evidence.Forge(t, *f.Manifest, list, members), s.kept); err == nil && len(r.Faults) == 0 {
			t.Fatalf("missed: %s", line)
		}
	}
	if odd > edits/2 {
		t.Errorf("%d of %d edits were no lines any more: the test says little", odd, edits)
	}
}
