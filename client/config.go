package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
)

// Override is one that stands.
type Override struct {
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   *string        `json:"expires_at"`
	Reason      string         `json:"reason"`
	SetBy       string         `json:"set_by"`
	SetAt       string         `json:"set_at"`
}

// Config is a tenant's dial.
type Config struct {
	TenantID     string                         `json:"tenant_id"`
	MaturityTier *int                           `json:"maturity_tier"` // never nil in an answer
	TierLabel    string                         `json:"tier_label"`
	Stopped      *bool                          `json:"stopped"`          // never nil in an answer
	Overrides    map[string]map[string]Override `json:"action_overrides"` // action type → mode
	Epoch        int64                          `json:"config_epoch"`
	ChangedBy    *string                        `json:"changed_by"`
	ChangedAt    *string                        `json:"changed_at"`
	StillAuto    []string                       `json:"still_auto"` // of the answer to a change
}

// A configuration without tier or stop would read as L0 and running.
func (c Config) check() error {
	switch {
	case c.TenantID == "" || c.MaturityTier == nil || c.TierLabel == "" || c.Stopped == nil:
		return errors.New("a configuration without tenant_id, maturity_tier, tier_label or stopped")
	case *c.MaturityTier < 0 || *c.MaturityTier > 4:
		return fmt.Errorf("maturity_tier %d", *c.MaturityTier)
	}
	return nil
}

// Config reads the tenant's configuration.
func (c *Client) Config(ctx context.Context) (Answer[Config], error) {
	return fetch[Config](ctx, c, request{method: http.MethodGet, path: "/config"})
}

// SetTier changes the tier, if the configuration is still the one with that
// ETag; otherwise the error is a Problem with status 412.
func (c *Client) SetTier(ctx context.Context, tier int, reason, etag string) (Answer[Config], error) {
	body := struct {
		MaturityTier int    `json:"maturity_tier"`
		Reason       string `json:"reason"`
	}{tier, reason}
	return fetch[Config](ctx, c, request{method: http.MethodPut, path: "/config", body: body, ifMatch: etag})
}

type reasonBody struct {
	Reason string `json:"reason"`
}

// Stop stops the tenant.
func (c *Client) Stop(ctx context.Context, reason string) (Answer[Config], error) {
	return fetch[Config](ctx, c, request{method: http.MethodPost, path: "/stop", body: reasonBody{reason}})
}

// Release releases the tenant from its stop.
func (c *Client) Release(ctx context.Context, reason string) (Answer[Config], error) {
	return fetch[Config](ctx, c, request{method: http.MethodPost, path: "/release", body: reasonBody{reason}})
}

// OverrideChange is an override to put in the place of the one of its mode.
type OverrideChange struct {
	Mode        string         `json:"mode"`
	Constraints jsontext.Value `json:"constraints,omitempty"`
	ExpiresAt   string         `json:"expires_at,omitempty"` // "": it never ends
	Reason      string         `json:"reason"`
}

// PutOverride sets one override.
func (c *Client) PutOverride(ctx context.Context, actionType string, o OverrideChange) (Answer[Config], error) {
	return fetch[Config](ctx, c, request{method: http.MethodPut, path: "/overrides/" + url.PathEscape(actionType), body: o})
}

// DeleteOverride removes the override of a mode, or all of an action type where
// mode is empty.
func (c *Client) DeleteOverride(ctx context.Context, actionType, mode, reason string) error {
	q := url.Values{"reason": {reason}}
	if mode != "" {
		q.Set("mode", mode)
	}
	return c.send(ctx, request{method: http.MethodDelete, path: "/overrides/" + url.PathEscape(actionType), query: q})
}
