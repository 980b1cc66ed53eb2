package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

const (
	lower = "0193f3d2-7b1c-7abc-8def-0123456789ab"
	upper = "0193F3D2-7B1C-7ABC-8DEF-0123456789AB"
)

// sample gives every column of a kind some value.
func sample(k *audit.Kind, s string, f float64, i int64) []any {
	values := make([]any, len(k.Columns))
	for c, name := range k.Columns {
		switch name {
		case "decision_id", "action_id", "approval_id", "supersedes":
			values[c] = lower
		case "log_seq", "epoch", "seq", "maturity_tier", "config_epoch", "policy_epoch", "change_id", "leaf_index", "approval_events", "outcomes":
			values[c] = i
		case "confidence":
			values[c] = f
		case "request_digest":
			sum := sha256.Sum256([]byte(s))
			values[c] = sum[:]
		case "input":
			values[c] = []byte(s)
		case "at", "decided_at":
			values[c] = time.Date(2026, 11, 23, 8, 0, 0, int(i&511)*1e6, time.UTC)
		default:
			values[c] = s
		}
	}
	return values
}

// Whatever a row says, its leaf is what a general canonicalizer makes of it, and
// reads back as what the row says.
func FuzzLeafIsCanonical(f *testing.F) {
	for _, s := range []string{"", "host:wks-042", "\x00\b\t\n\f\r\x1f\"\\/\x7f", "€ 𝄞 \u2028\u2029 <&> é e\u0301", `{"a":[1,2]}`} {
		for _, x := range []float64{0, 0.1, 1, 1e-6, 1e-7, 5e-324, math.MaxFloat64, 1e21, 123456789012345680000, -1.5, 0.97} {
			f.Add(s, x, int64(1))
		}
	}
	f.Add("x", 1e23, int64(1<<53-1))
	f.Fuzz(func(t *testing.T, s string, x float64, i int64) {
		for _, k := range audit.Kinds {
			leaf, err := k.AppendLeaf(nil, sample(k, s, x, i))
			if strings.ToValidUTF8(s, "") != s || math.IsNaN(x) && k == audit.Decision || math.IsInf(x, 0) && k == audit.Decision || i > 1<<53-1 || i < 1-1<<53 {
				if err == nil {
					t.Fatalf("%s took %q %v %d: %s", k.Name, s, x, i, leaf)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			canonical := jsontext.Value(slices.Clone(leaf))
			if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, leaf) {
				t.Fatalf("%s is not canonical (%v):\n%s\n%s", k.Name, err, leaf, canonical)
			}
			var doc map[string]any
			d := json.NewDecoder(bytes.NewReader(leaf))
			d.UseNumber()
			if err := d.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			checkDoc(t, k, doc, s, x, i)
		}
	})
}

func checkDoc(t *testing.T, k *audit.Kind, doc map[string]any, s string, x float64, i int64) {
	t.Helper()
	if len(doc) != len(k.Columns)+2 || doc["leaf"] != k.Name || doc["v"] != json.Number("1") {
		t.Fatalf("%s has %v", k.Name, doc)
	}
	for _, c := range k.Columns {
		switch v := doc[c].(type) {
		case json.Number:
			n, err := strconv.ParseFloat(string(v), 64)
			if c == "confidence" && (err != nil || n != x) || c != "confidence" && string(v) != strconv.FormatInt(i, 10) {
				t.Fatalf("%s.%s is %s", k.Name, c, v)
			}
		case string:
			sum := sha256.Sum256([]byte(s))
			want := map[string]string{"request_digest": "sha256:" + hex.EncodeToString(sum[:]), "decision_id": lower, "action_id": lower, "approval_id": lower, "supersedes": lower}[c]
			if want == "" {
				want = s
			}
			if c != "at" && c != "decided_at" && v != want {
				t.Fatalf("%s.%s is %q, want %q", k.Name, c, v, want)
			}
		default:
			if c != "input" || doc["input_digest"] == nil {
				t.Fatalf("%s.%s is %v", k.Name, c, v)
			}
		}
	}
}

// What the two databases give for the same row makes the same leaf.
func TestLeafDoesNotDependOnTheDatabase(t *testing.T) {
	k := audit.Decision
	want, err := k.AppendLeaf(nil, sample(k, "x", 0.5, 1))
	if err != nil {
		t.Fatal(err)
	}
	other := sample(k, "x", 0.5, 1)
	for i, v := range other {
		switch v := v.(type) {
		case time.Time:
			other[i] = "2026-11-23T08:00:00.001Z"
		case string:
			if other[i] = []byte(v); v == lower {
				other[i] = []byte(upper)
			}
		}
	}
	if got, err := k.AppendLeaf(nil, other); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v\n%s\n%s", err, got, want)
	}
	for _, zero := range []float64{0, math.Copysign(0, -1)} {
		if got, err := k.AppendLeaf(nil, sample(k, "x", zero, 1)); err != nil || !strings.Contains(string(got), `"confidence":0,`) {
			t.Errorf("%v %s", err, got)
		}
	}
}

// A row that could not have been written has no leaf, or one of its own.
func TestNothingIsMadeToFit(t *testing.T) {
	k := audit.Decision
	whole, err := k.AppendLeaf(nil, sample(k, "x", 0.5, 1))
	if err != nil {
		t.Fatal(err)
	}
	change := func(column string, value any) ([]byte, error) {
		values := sample(k, "x", 0.5, 1)
		values[slices.Index(k.Columns, column)] = value
		return k.AppendLeaf(nil, values)
	}
	for column, values := range map[string][]any{
		"target":         {int64(1), 1.5, true, time.Now(), "\xff", []byte("a\xc3")},
		"log_seq":        {"1", 1.0, int64(1 << 53), int64(-1 << 53)},
		"confidence":     {"0.5", int64(1), math.NaN(), math.Inf(1)},
		"decision_id":    {"", "x", lower[1:], lower + "0", "{" + lower[:34] + "}", strings.Replace(lower, "-", "0", 1), strings.Replace(lower, "3", "g", 1), int64(1)},
		"request_digest": {[]byte{}, make([]byte, 31), "x"},
		"input":          {"x"},
		"decided_at":     {int64(1), []byte("2026")},
	} {
		for _, v := range values {
			if leaf, err := change(column, v); err == nil || !strings.Contains(err.Error(), column) {
				t.Errorf("%s = %#v: %v %s", column, v, err, leaf)
			}
		}
		if leaf, err := change(column, nil); err != nil || bytes.Equal(leaf, whole) {
			t.Errorf("%s = NULL: %v", column, err)
		}
	}
	micro := time.Date(2026, 11, 23, 8, 0, 0, 1_000_000+1000, time.UTC)
	if leaf, err := change("decided_at", micro); err != nil || bytes.Equal(leaf, whole) || !strings.Contains(string(leaf), "00.001001000Z") {
		t.Errorf("a microsecond more: %v %s", err, leaf)
	}
	if _, err := k.AppendLeaf(nil, sample(k, "x", 1, 1)[1:]); err == nil {
		t.Error("took a row that lacks a column")
	}
}

func TestHashIsRecordHash(t *testing.T) {
	var scratch []byte
	for _, k := range audit.Kinds {
		leaf, err := k.AppendLeaf(nil, sample(k, "x", 0.5, 7))
		if err != nil {
			t.Fatal(err)
		}
		var h tlog.Hash
		if h, scratch, err = k.Hash(scratch, sample(k, "x", 0.5, 7)); err != nil || h != tlog.RecordHash(leaf) {
			t.Errorf("%s: %v %v", k.Name, h, err)
		}
		if audit.KindNamed(k.Name) != k {
			t.Errorf("no kind named %s", k.Name)
		}
	}
	if audit.KindNamed("x") != nil {
		t.Error("a kind named x")
	}
}

func BenchmarkDecisionHash(b *testing.B) {
	values := sample(audit.Decision, "host:wks-042 is isolated by the agent of the SOC", 0.97, 123456)
	var scratch []byte
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if _, scratch, err = audit.Decision.Hash(scratch, values); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(scratch)))
}
