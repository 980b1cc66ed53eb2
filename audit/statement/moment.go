package statement

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// moment is a change of what the agent could do.
type moment struct {
	At      time.Time
	What    string
	Who     string
	Why     string
	Epoch   int64
	Tier    int
	Stopped bool
	Changed []cell
	Unknown bool // what it changed cannot be told
}

// cell is an action type whose decision changed, on a target that no constraint
// names.
type cell struct{ Action, From, To, Rule string }

// Time is how the page writes it.
func (m moment) Time() string { return engine.FormatTime(m.At) }

// decides reports whether a kind of change can change the matrix: whitelist
// entries and channels name targets or nothing.
func decides(kind string) bool {
	return !slices.Contains([]string{engine.KindWhitelistAdd, engine.KindWhitelistRemove, engine.KindChannelSet, engine.KindChannelRemove}, kind)
}

// describe says what a change did.
func describe(c engine.Change) string {
	var before, after map[string]any
	_ = json.Unmarshal(c.Before, &before)
	_ = json.Unmarshal(c.After, &after)
	text := func(m map[string]any, key string) string { s, _ := m[key].(string); return show(s) }
	switch c.Kind {
	case engine.KindConfig:
		if text(before, "tier_label") != text(after, "tier_label") {
			return fmt.Sprintf("Tier %s → %s", text(before, "tier_label"), text(after, "tier_label"))
		}
		return "Configuration set: tier " + text(after, "tier_label")
	case engine.KindOverrideSet:
		return fmt.Sprintf("Override %s of %s set: constraints %s, %s", text(after, "mode"), text(after, "action_type"), compact(after["constraints"]), until(after["expires_at"]))
	case engine.KindOverrideRemove:
		return "Overrides removed: " + compact(json.RawMessage(c.Before))
	case engine.KindWhitelistAdd:
		return fmt.Sprintf("Whitelist entry %s added: %s where %s, %s", text(after, "id"), text(after, "action_type"), compact(after["constraints"]), until(after["expires_at"]))
	case engine.KindWhitelistRemove:
		return fmt.Sprintf("Whitelist entry %s removed: %s where %s", text(before, "id"), text(before, "action_type"), compact(before["constraints"]))
	case engine.KindStop:
		return "The tenant was stopped: nothing runs by itself"
	case engine.KindRelease:
		return "The tenant was released from its stop"
	}
	return fmt.Sprintf("%s: %s", show(c.Kind), compact(json.RawMessage(c.After)))
}

func until(at any) string {
	if s, ok := at.(string); ok {
		return "until " + show(s)
	}
	return "without an end"
}

// until brings what is known up to a moment in the window.
func (s *Statement) until(at time.Time) {
	start := s.window.From
	if start.IsZero() {
		start = at
	}
	s.begin(start)
	s.expire(at)
	if at.After(s.last) {
		s.last = at
	}
}

// begin takes down how things stood when the window began.
func (s *Statement) begin(at time.Time) {
	if s.begun {
		return
	}
	s.begun, s.last = true, at
	snapshot := s.config.Snapshot()
	tier, stopped, _ := snapshot.Dial()
	s.standing = standing{At: at, Tier: engine.TierLabel(tier), Stopped: stopped, Epoch: s.config.Epoch()}
	overrides, _ := snapshot.Overrides()
	for _, o := range overrides {
		if o.ExpiresAt != nil && !at.Before(*o.ExpiresAt) {
			continue
		}
		end := "without an end"
		if o.ExpiresAt != nil {
			end = "until " + engine.FormatTime(*o.ExpiresAt)
		}
		s.standing.Overrides = append(s.standing.Overrides, fmt.Sprintf("%s of %s: constraints %s, %s", o.Mode, show(o.ActionType), show(string(o.Constraints)), end))
	}
	entries, total, _ := snapshot.Entries(maxEntries)
	for _, e := range entries {
		s.standing.Entries = append(s.standing.Entries, fmt.Sprintf("%s: %s where %s, until %s", show(e.ID), show(e.ActionType), show(string(e.Constraints)), engine.FormatTime(e.ExpiresAt)))
	}
	s.standing.More = total - len(entries)
	s.matrix = s.matrixAt(at)
	s.first = s.matrix
	s.line.dial(at, tier, stopped)
	s.plan()
}

// plan finds out when the next override ends.
func (s *Statement) plan() {
	s.nextEnd = time.Time{}
	overrides, _ := s.config.Snapshot().Overrides()
	for _, o := range overrides {
		if o.ExpiresAt != nil && o.ExpiresAt.After(s.last) && (s.nextEnd.IsZero() || o.ExpiresAt.Before(s.nextEnd)) {
			s.nextEnd = *o.ExpiresAt
		}
	}
}

// expire tells which overrides ran out since the last moment, up to at.
func (s *Statement) expire(at time.Time) {
	if s.lost != "" || s.nextEnd.IsZero() || at.Before(s.nextEnd) {
		return
	}
	overrides, err := s.config.Snapshot().Overrides()
	if err != nil {
		return
	}
	var ends []*engine.Override
	for _, o := range overrides {
		if o.ExpiresAt != nil && o.ExpiresAt.After(s.last) && !o.ExpiresAt.After(at) && s.in(*o.ExpiresAt) {
			ends = append(ends, o)
		}
	}
	slices.SortStableFunc(ends, func(a, b *engine.Override) int { return a.ExpiresAt.Compare(*b.ExpiresAt) })
	for _, o := range ends {
		s.tell(moment{At: *o.ExpiresAt, What: fmt.Sprintf("Override %s of %s expired", o.Mode, show(o.ActionType)), Who: "time", Epoch: s.config.Epoch()}, true)
	}
	s.last = at
	s.plan()
}

// tell adds a moment, with what it changed in the matrix.
func (s *Statement) tell(m moment, decides bool) {
	m.Who, m.Why = show(m.Who), show(m.Why)
	m.Tier, m.Stopped, _ = s.config.Snapshot().Dial()
	s.line.dial(m.At, m.Tier, m.Stopped)
	if decides {
		now := s.matrixAt(m.At)
		m.Unknown = now == nil || s.matrix == nil
		if !m.Unknown {
			m.Changed = differences(s.matrix, now)
		}
		s.matrix = now
		if s.first == nil {
			s.first = now
		}
	}
	s.moments = append(s.moments, m)
}

// matrixAt is what every action type came out as, nil where that cannot be told.
func (s *Statement) matrixAt(at time.Time) []engine.MatrixRow {
	if s.lost != "" || s.policy == nil {
		return nil
	}
	gate := engine.NewGate(engine.GateOptions{Facts: s.config.Snapshot(), Policy: s.policy, Now: func() time.Time { return at }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	rows, err := gate.Matrix(s.ctx, s.window.Tenant)
	if err != nil {
		return nil
	}
	return rows
}

func differences(before, after []engine.MatrixRow) (list []cell) {
	old := map[string]engine.MatrixRow{}
	for _, r := range before {
		old[r.ActionType] = r
	}
	for _, r := range after {
		if o := old[r.ActionType]; o.Decision != r.Decision || o.Rule != r.Rule {
			list = append(list, cell{r.ActionType, o.Decision.String(), r.Decision.String(), r.Rule})
		}
	}
	return list
}
