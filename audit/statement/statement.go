// Package statement says to a person what an evidence file says to a program: what
// the agent could have done by itself at each moment of a window, what it did,
// and how to check that. It is one HTML page without scripts and without anything
// from elsewhere, which prints well.
//
// The page follows from the items of the file alone, in one pass and in memory
// for the changes and not for the decisions, so that a verifier can make it again
// and compare.
package statement

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
)

// Statement is one page in the making. It is an evidence.Statement. Close it.
type Statement struct {
	ctx      context.Context
	window   evidence.Window
	policies replay.Bundles

	config *store.Configuration
	active string // hash of the active bundle
	policy *engine.Policy
	lost   string // why the configuration or the policy is not known any more

	begun    bool
	last     time.Time // of anything in the window
	nextEnd  time.Time // of an override, after last; zero: none
	matrix   []engine.MatrixRow
	first    []engine.MatrixRow // at the beginning
	standing standing
	moments  []moment
	counts   map[count]int64
	total    int64
	unread   int64
	line     timeline
	rows     int64    // in spool
	spool    *os.File // actions of HIGH and CRITICAL radius, as HTML
}

type count struct{ Decision, Radius, Rule string }

// standing is what stood at the beginning beside the matrix.
type standing struct {
	At        time.Time
	Tier      string
	Stopped   bool
	Epoch     int64
	Overrides []string
	Entries   []string
	More      int // entries that are not listed
}

// maxEntries is how many whitelist entries are listed for the beginning.
const maxEntries = 200

// New begins the page of a window. Policies are asked for the bundles that were
// active.
func New(ctx context.Context, w evidence.Window, policies replay.Bundles) (*Statement, error) {
	config, err := store.NewConfiguration(w.Tenant)
	if err != nil {
		return nil, err
	}
	spool, err := os.CreateTemp("", "tiergate-statement-*")
	if err != nil {
		return nil, fmt.Errorf("a place for the statement: %w", err)
	}
	return &Statement{ctx: ctx, window: w, policies: policies, config: config, counts: map[count]int64{}, spool: spool}, nil
}

// Close removes what lies on the disk.
func (s *Statement) Close() error {
	return cmp.Or(s.spool.Close(), os.Remove(s.spool.Name()))
}

// Add takes the next item. What cannot be read is counted and left out: it is for
// a verifier to say what that means.
func (s *Statement) Add(i *evidence.Item) error {
	if i.Kind == nil {
		return nil
	}
	values, err := i.Kind.ParseLeaf(i.Leaf)
	if err != nil {
		s.unread++
		return nil
	}
	text := func(column string) string {
		v, _ := values[slices.Index(i.Kind.Columns, column)].(string)
		return v
	}
	switch i.Kind {
	case audit.ConfigChange:
		return s.change(replay.ChangeOf(values))
	case audit.PolicyChange:
		return s.policyChange(text)
	case audit.Decision:
		return s.decision(values, text)
	}
	return nil
}

// in reports whether a time is in the window.
func (s *Statement) in(at time.Time) bool {
	return !at.Before(s.window.From) && (s.window.To.IsZero() || at.Before(s.window.To))
}

func (s *Statement) change(c engine.Change) error {
	tells := s.in(c.At)
	if tells {
		s.until(c.At)
	}
	if s.lost == "" {
		if err := s.apply(c); err != nil {
			s.lost = fmt.Sprintf("change %d of the configuration cannot be made: %v", c.Epoch, err)
		}
		s.plan()
	}
	if tells {
		s.tell(moment{At: c.At, What: describe(c), Who: c.Actor, Why: c.Reason, Epoch: c.Epoch}, decides(c.Kind))
	}
	return nil
}

func (s *Statement) apply(c engine.Change) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return s.config.Apply(c)
}

func (s *Statement) policyChange(text func(string) string) error {
	at, _ := engine.ParseTime(text("at"))
	raises := slices.Contains([]string{engine.PolicySeed, engine.PolicyActivate, engine.PolicyRollback}, text("kind"))
	if !raises {
		return nil
	}
	tells := s.in(at) && s.active != ""
	if tells {
		s.until(at)
	}
	s.active, s.policy = text("bundle_hash"), nil
	policy, err := s.policies(s.ctx, s.active)
	if err == nil {
		s.policy = policy
	}
	if tells {
		s.tell(moment{At: at, What: fmt.Sprintf("%s of the policy: bundle %s", text("kind"), s.active), Who: text("actor"), Why: text("reason"), Epoch: s.config.Epoch()}, true)
	}
	return s.ctx.Err()
}

func (s *Statement) decision(values []any, text func(string) string) error {
	at, err := engine.ParseTime(text("decided_at"))
	if err != nil || !s.in(at) {
		return nil
	}
	s.until(at)
	s.total++
	s.counts[count{text("decision"), text("blast_radius"), text("rule")}]++
	s.line.add(at, text("decision"))
	if r := text("blast_radius"); r != engine.High.String() && r != engine.Critical.String() {
		return nil
	}
	s.rows++
	seq, _ := values[slices.Index(audit.Decision.Columns, "log_seq")].(int64)
	var b bytes.Buffer
	err = rowTemplate.Execute(&b, map[string]any{
		"At": text("decided_at"), "Seq": seq, "Action": text("action_type"), "Radius": text("blast_radius"), "Decision": text("decision"), "Rule": text("rule"),
		"Target": show(text("target")), "Actor": show(text("actor")), "Principal": show(text("principal")), "Rationale": show(text("rationale")), "ID": text("decision_id"),
	})
	if err != nil {
		return err
	}
	_, err = s.spool.Write(b.Bytes())
	return err
}

// Write writes the page.
func (s *Statement) Write(ctx context.Context, w io.Writer, m *evidence.Manifest) error {
	s.begin(s.window.From)
	if !s.window.To.IsZero() {
		s.expire(s.window.To)
	}
	var counts []countRow
	for c, n := range s.counts {
		counts = append(counts, countRow{c, n})
	}
	slices.SortFunc(counts, func(a, b countRow) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Decision, b.Decision), cmp.Compare(a.Radius, b.Radius), cmp.Compare(a.Rule, b.Rule))
	})
	page := map[string]any{
		"M": m, "From": bound(m.From, "the beginning"), "To": bound(m.To, "the end of the log"), "Standing": s.standing, "Matrix": s.first, "Moments": s.moments,
		"Counts": counts, "Total": s.total, "High": s.rows, "Unread": s.unread, "Lost": show(s.lost), "Picture": s.line.picture(s.moments, s.standing),
	}
	if err := pageTemplate.ExecuteTemplate(w, "head", page); err != nil {
		return err
	}
	if _, err := s.spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(w, s.spool); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return pageTemplate.ExecuteTemplate(w, "foot", page)
}

type countRow struct {
	count
	N int64
}

func bound(t *string, none string) string {
	if t == nil {
		return none
	}
	return *t
}

// show makes text of strangers harmless to read: what is no visible character, or
// turns the direction of writing, is shown as its number.
func show(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r != '\n' && (!unicode.IsGraphic(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// compact is JSON for a person's eyes.
func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return show(string(b))
}
