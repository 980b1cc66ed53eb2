package server

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

// previewBody is a request and the parts of the configuration to replace.
type previewBody struct {
	decisionBody `json:",inline"`
	MaturityTier *int                `json:"maturity_tier"`
	Overrides    *[]previewOverride  `json:"overrides"`
	Whitelist    *[]previewWhitelist `json:"whitelist"`
}

type previewOverride struct {
	Mode        string         `json:"mode"`
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   *string        `json:"expires_at"`
}

type previewWhitelist struct {
	ID          string         `json:"id"`
	ActionType  string         `json:"action_type"`
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   *string        `json:"expires_at"`
}

func (s *server) preview(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	var b previewBody
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	if b.Parameters != nil {
		if err := b.Parameters.Canonicalize(); err != nil {
			return syntaxProblem(err)
		}
	}
	r, err := b.request(who(c), [32]byte{})
	if err != nil {
		return err
	}
	w, err := b.whatIf(r)
	if err != nil {
		return err
	}
	e, err := s.gate.Preview(c.Request.Context(), r, w)
	if err != nil {
		return err
	}
	s.answer(c, http.StatusOK, s.answerOf(e))
	return nil
}

// whatIf checks the replaced parts as if they were written, but that an expiry
// may lie in the past: "what if it had expired" is a question.
func (b *previewBody) whatIf(r *engine.Request) (engine.WhatIf, error) {
	var f faults
	w := engine.WhatIf{MaturityTier: b.MaturityTier}
	if t := b.MaturityTier; t != nil && (*t < 0 || *t > engine.MaxTier) {
		f.add("maturity_tier", "must be 0 to %d", engine.MaxTier)
	}
	if b.Overrides != nil {
		w.ReplaceOverrides = true
		seen := map[engine.Mode]bool{}
		for i, o := range *b.Overrides {
			field := indexed("overrides", i)
			mode := engine.Mode(o.Mode)
			if !validMode(mode) || seen[mode] {
				f.add(field+".mode", "must be block, require_approval or force_auto, each once")
				continue
			}
			seen[mode] = true
			w.Overrides = append(w.Overrides, engine.NewOverride(engine.Override{
				TenantID: r.TenantID, ActionType: r.ActionType, Mode: mode,
				Constraints: f.constraints(field, o.Constraints, mode == engine.ModeForceAuto),
				ExpiresAt:   f.time(field+".expires_at", o.ExpiresAt),
			}))
		}
	}
	if b.Whitelist != nil {
		w.ReplaceWhitelist = true
		if len(*b.Whitelist) > engine.MaxCandidates {
			f.add("whitelist", "must hold at most %d entries", engine.MaxCandidates)
		}
		for i, e := range *b.Whitelist {
			field := indexed("whitelist", i)
			if e.ID == "" {
				e.ID = "preview-" + strconv.Itoa(i)
			} else if len(e.ID) > 128 {
				f.add(field+".id", "must be 1 to 128 bytes")
			}
			if e.ActionType == "" {
				e.ActionType = r.ActionType
			}
			at := f.time(field+".expires_at", e.ExpiresAt)
			if at == nil {
				at = &time.Time{}
				f.add(field+".expires_at", "is required")
			}
			w.Whitelist = append(w.Whitelist, engine.NewWhitelistEntry(engine.WhitelistEntry{
				TenantID: r.TenantID, ID: e.ID, ActionType: e.ActionType,
				Constraints: f.whitelistConstraints(field, e.Constraints), ExpiresAt: *at,
			}))
		}
	}
	// As facts are: overrides by mode, whitelist entries by id.
	slices.SortFunc(w.Overrides, func(a, b *engine.Override) int { return cmp.Compare(a.Mode, b.Mode) })
	slices.SortFunc(w.Whitelist, func(a, b *engine.WhitelistEntry) int { return cmp.Compare(a.ID, b.ID) })
	return w, f.err()
}
