package server

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

type overrideAnswer struct {
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   *string        `json:"expires_at"`
	Reason      string         `json:"reason"`
	SetBy       string         `json:"set_by"`
	SetAt       string         `json:"set_at"`
}

type configAnswer struct {
	TenantID        string                               `json:"tenant_id"`
	MaturityTier    int                                  `json:"maturity_tier"`
	TierLabel       string                               `json:"tier_label"`
	Stopped         bool                                 `json:"stopped"`
	ActionOverrides map[string]map[string]overrideAnswer `json:"action_overrides"`
	ConfigEpoch     int64                                `json:"config_epoch"`
	ChangedBy       *string                              `json:"changed_by"`
	ChangedAt       *string                              `json:"changed_at"`
	StillAuto       *[]string                            `json:"still_auto,omitzero"`
}

func configOf(cfg engine.Config) configAnswer {
	a := configAnswer{
		TenantID: cfg.TenantID, MaturityTier: cfg.MaturityTier, TierLabel: engine.TierLabel(cfg.MaturityTier),
		Stopped: cfg.Stopped, ActionOverrides: map[string]map[string]overrideAnswer{},
		ConfigEpoch: cfg.Epoch, ChangedAt: timeOrNull(&cfg.ChangedAt),
	}
	if cfg.ChangedBy != "" {
		a.ChangedBy = &cfg.ChangedBy
	}
	for _, o := range cfg.Overrides {
		if a.ActionOverrides[o.ActionType] == nil {
			a.ActionOverrides[o.ActionType] = map[string]overrideAnswer{}
		}
		a.ActionOverrides[o.ActionType][string(o.Mode)] = overrideAnswer{
			Constraints: o.Constraints, ExpiresAt: timeOrNull(o.ExpiresAt),
			Reason: o.Reason, SetBy: o.SetBy, SetAt: engine.FormatTime(o.SetAt),
		}
	}
	return a
}

// answerConfig writes a configuration with its ETag.
func (s *server) answerConfig(c *gin.Context, cfg engine.Config, stillAuto bool) error {
	a := configOf(cfg)
	if stillAuto {
		still, err := s.gate.StillAuto(c.Request.Context(), cfg.TenantID)
		if err != nil {
			return err
		}
		a.StillAuto = &still
	}
	c.Header("ETag", `"`+strconv.FormatInt(cfg.Epoch, 10)+`"`)
	s.answer(c, http.StatusOK, a)
	return nil
}

func (s *server) config(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	cfg, err := s.store.Config(c.Request.Context(), who(c).tenant)
	if err != nil {
		return err
	}
	return s.answerConfig(c, cfg, false)
}

// configBody is what PUT /config takes. An override is true, for one without
// constraints and expiry, or an object.
type configBody struct {
	MaturityTier    *int                                 `json:"maturity_tier"`
	ActionOverrides map[string]map[string]jsontext.Value `json:"action_overrides"`
	Reason          *string                              `json:"reason"`
}

// overrideBody is one override; set_by and set_at may be there, so that what
// GET /config gave can be sent back, and are not taken over.
type overrideBody struct {
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   *string        `json:"expires_at"`
	Reason      *string        `json:"reason"`
	SetBy       *string        `json:"set_by"`
	SetAt       *string        `json:"set_at"`
}

func (s *server) putConfig(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	var b configBody
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	var f faults
	change := engine.ConfigChange{MaturityTier: b.MaturityTier, ReplaceOverrides: b.ActionOverrides != nil}
	if t := b.MaturityTier; t != nil && (*t < 0 || *t > engine.MaxTier) {
		f.add("maturity_tier", "must be 0 to %d", engine.MaxTier)
	}
	if b.MaturityTier == nil && b.ActionOverrides == nil {
		f.add("maturity_tier", "is required unless action_overrides is given")
	}
	reason := ""
	if b.Reason != nil {
		reason = *b.Reason
		f.reason("reason", reason, true)
	}
	for actionType, modes := range b.ActionOverrides {
		for mode, raw := range modes {
			if o := s.parseOverride(&f, who(c), actionType, mode, raw, reason); o != nil {
				change.Overrides = append(change.Overrides, o)
			}
		}
	}
	slices.SortFunc(change.Overrides, func(a, b *engine.Override) int {
		return cmp.Or(cmp.Compare(a.ActionType, b.ActionType), cmp.Compare(a.Mode, b.Mode))
	})
	if change.IfMatch, err = ifMatch(c); err != nil {
		return err
	}
	if err := f.err(); err != nil {
		return err
	}
	cfg, err := s.store.ChangeConfig(c.Request.Context(), who(c).tenant, change, engine.ChangeMeta{Actor: who(c).name, Reason: reason})
	if err != nil {
		return err
	}
	return s.answerConfig(c, cfg, true)
}

// parseOverride reads one override of a PUT /config.
func (s *server) parseOverride(f *faults, w caller, actionType, mode string, raw jsontext.Value, reason string) *engine.Override {
	field := fmt.Sprintf("action_overrides.%s.%s", actionType, mode)
	m := engine.Mode(mode)
	if !isActionType(actionType) {
		f.add("action_overrides", "every key must match %s", actionTypeText)
		return nil
	}
	if !validMode(m) {
		f.add("action_overrides."+actionType, "the modes are block, require_approval and force_auto")
		return nil
	}
	o := engine.Override{TenantID: w.tenant, ActionType: actionType, Mode: m, Constraints: []byte("{}"), Reason: reason, SetBy: w.name, SetAt: s.now().UTC()}
	switch raw.Kind() {
	case 't':
		if reason == "" {
			f.add("reason", "is required with an override in its short form")
		}
	case '{':
		var b overrideBody
		if err := unmarshalStrict(raw, &b); err != nil {
			f.nest(field, err)
			return nil
		}
		if b.Reason != nil {
			o.Reason = *b.Reason
		}
		f.reason(field+".reason", o.Reason, true)
		o.Constraints = f.constraints(field, b.Constraints, m == engine.ModeForceAuto)
		o.ExpiresAt = f.expiry(field+".expires_at", b.ExpiresAt, s.now())
	default:
		f.add(field, "must be true or an object; leave it out to remove the override")
		return nil
	}
	return engine.NewOverride(o)
}

var entityTag = regexp.MustCompile(`^"(0|[1-9][0-9]{0,17})"$`)

// ifMatch reads If-Match: the entity tag of a configuration, or nothing.
func ifMatch(c *gin.Context) (*int64, error) {
	values := c.Request.Header.Values("If-Match")
	if len(values) == 0 || (len(values) == 1 && values[0] == "*") {
		return nil, nil
	}
	if m := entityTag.FindStringSubmatch(values[0]); m != nil && len(values) == 1 {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err == nil {
			return &n, nil
		}
	}
	return nil, badField("If-Match", `want the ETag that GET /config gave, such as "17"`)
}

func (s *server) stop(c *gin.Context) error    { return s.setStopped(c, true) }
func (s *server) release(c *gin.Context) error { return s.setStopped(c, false) }

func (s *server) setStopped(c *gin.Context, stopped bool) error {
	if err := noQuery(c); err != nil {
		return err
	}
	reason, err := readReason(c)
	if err != nil {
		return err
	}
	cfg, err := s.store.SetStopped(c.Request.Context(), who(c).tenant, stopped, engine.ChangeMeta{Actor: who(c).name, Reason: reason})
	if err != nil {
		return err
	}
	return s.answerConfig(c, cfg, true)
}

// readReason reads the body of a change that takes nothing but its reason.
func readReason(c *gin.Context) (string, error) {
	body, err := readBody(c, maxBody)
	if err != nil {
		return "", err
	}
	var b struct {
		Reason string `json:"reason"`
	}
	if err := decodeStrict(body, &b); err != nil {
		return "", err
	}
	var f faults
	f.reason("reason", b.Reason, true)
	return b.Reason, f.err()
}

func (s *server) history(c *gin.Context) error {
	q, err := readQuery(c, "from", "to", "limit", "cursor")
	if err != nil {
		return err
	}
	limit := q.limit()
	h := engine.HistoryQuery{From: q.time("from"), To: q.time("to"), AfterEpoch: q.cursorInt(), Limit: limit + 1}
	if err := q.err(); err != nil {
		return err
	}
	changes, err := s.store.History(c.Request.Context(), who(c).tenant, h)
	if err != nil {
		return err
	}
	type change struct {
		Epoch  int64          `json:"epoch"`
		Kind   string         `json:"kind"`
		Before jsontext.Value `json:"before"`
		After  jsontext.Value `json:"after"`
		Actor  string         `json:"actor"`
		Reason string         `json:"reason"`
		At     string         `json:"at"`
	}
	list := []change{}
	var next *string
	for i, ch := range changes {
		if i == limit {
			next = q.next(strconv.FormatInt(list[i-1].Epoch, 10))
			break
		}
		list = append(list, change{ch.Epoch, ch.Kind, orNull(ch.Before), orNull(ch.After), ch.Actor, ch.Reason, engine.FormatTime(ch.At)})
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}

func orNull(raw []byte) jsontext.Value {
	if len(raw) == 0 {
		return jsontext.Value("null")
	}
	return raw
}
