package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// WhitelistEntry is one that stands.
type WhitelistEntry struct {
	ID          string         `json:"id"`
	ActionType  string         `json:"action_type"`
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   string         `json:"expires_at"`
	Reason      string         `json:"reason"`
	Notify      []string       `json:"notify"`
	SetBy       string         `json:"set_by"`
	SetAt       string         `json:"set_at"`
	// Unresolved are targets of an entry that was just added that name no channel.
	Unresolved []struct {
		Notify string `json:"notify"`
		Detail string `json:"detail"`
	} `json:"unresolved_notify"`
}

func (w WhitelistEntry) check() error {
	if w.ID == "" || w.ActionType == "" || w.ExpiresAt == "" {
		return errors.New("a whitelist entry without id, action_type or expires_at")
	}
	return nil
}

// Page is some entries of a list, and where the next begin.
type Page[T checked] struct {
	Entries []T     `json:"entries"`
	Next    *string `json:"next_cursor"` // nil after the last page
}

func (p Page[T]) check() error {
	if p.Entries == nil {
		return errors.New("a page without entries")
	}
	for _, e := range p.Entries {
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

// Whitelist reads one page of entries: of one action type, unless it is empty,
// at most limit, unless it is 0, and after the cursor, unless it is empty.
func (c *Client) Whitelist(ctx context.Context, actionType string, limit int, cursor string) (Answer[Page[WhitelistEntry]], error) {
	q := url.Values{}
	setText(q, "action_type", actionType)
	setPage(q, limit, cursor)
	return fetch[Page[WhitelistEntry]](ctx, c, request{method: http.MethodGet, path: "/whitelist", query: q})
}

// setText adds a query parameter; an empty one is refused by the API.
func setText(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

func setPage(q url.Values, limit int, cursor string) {
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	setText(q, "cursor", cursor)
}

// WhitelistAddition is an entry to add.
type WhitelistAddition struct {
	ActionType  string         `json:"action_type"`
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   string         `json:"expires_at"`
	Reason      string         `json:"reason"`
	Notify      []string       `json:"notify,omitempty"`
}

// AddWhitelist adds an entry.
func (c *Client) AddWhitelist(ctx context.Context, w WhitelistAddition) (Answer[WhitelistEntry], error) {
	return fetch[WhitelistEntry](ctx, c, request{method: http.MethodPost, path: "/whitelist", body: w})
}

// DeleteWhitelist removes an entry.
func (c *Client) DeleteWhitelist(ctx context.Context, id, reason string) error {
	return c.send(ctx, request{method: http.MethodDelete, path: "/whitelist/" + url.PathEscape(id), query: url.Values{"reason": {reason}}})
}
