package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// Channel is where announcements of the tenant go.
type Channel struct {
	Name      string `json:"name"`
	Format    string `json:"format"`
	Approvals bool   `json:"approvals"` // whether opened approvals are announced there
	Origin    string `json:"origin"`
	KeyID     string `json:"key_id"`
	SetBy     string `json:"set_by"`
	SetAt     string `json:"set_at"`
	Secret    string `json:"secret"` // a signing key that was just made; never given again
}

func (c Channel) check() error {
	if c.Name == "" || c.Format == "" {
		return errors.New("a channel without name or format")
	}
	return nil
}

// ChannelSetting is what a channel is to be. What is nil stays as it is.
type ChannelSetting struct {
	Format    string  `json:"format"`
	URL       *string `json:"url,omitempty"`
	Secret    *string `json:"secret,omitempty"`
	NewSecret bool    `json:"new_secret,omitempty"`
	Approvals *bool   `json:"approvals,omitempty"`
	Reason    string  `json:"reason"`
}

// Announcement is one event told to one channel.
type Announcement struct {
	ID         string `json:"id"`
	Kind       string `json:"kind"`
	Channel    string `json:"channel"`
	DecisionID string `json:"decision_id"`
	ApprovalID string `json:"approval_id"`
	Status     string `json:"status"`
	Attempts   int    `json:"attempts"`
	LastError  string `json:"last_error"`
	CreatedAt  string `json:"created_at"`
	ClosedAt   string `json:"closed_at"`
}

func (a Announcement) check() error {
	if a.ID == "" || a.Status == "" || a.Kind == "" {
		return errors.New("an announcement without id, status or kind")
	}
	return nil
}

// Replayed is how many announcements are sent again.
type Replayed struct {
	Replayed *int `json:"replayed"`
}

func (r Replayed) check() error {
	if r.Replayed == nil {
		return errors.New("no number of what is replayed")
	}
	return nil
}

// Channels reads one page of channels, as Whitelist does of entries.
func (c *Client) Channels(ctx context.Context, limit int, cursor string) (Answer[Page[Channel]], error) {
	q := url.Values{}
	setPage(q, limit, cursor)
	return fetch[Page[Channel]](ctx, c, request{method: http.MethodGet, path: "/channels", query: q})
}

// SetChannel says where announcements go.
func (c *Client) SetChannel(ctx context.Context, name string, s ChannelSetting) (Answer[Channel], error) {
	return fetch[Channel](ctx, c, request{method: http.MethodPut, path: "/channels/" + url.PathEscape(name), body: s})
}

// RemoveChannel removes a channel.
func (c *Client) RemoveChannel(ctx context.Context, name, reason string) error {
	return c.send(ctx, request{method: http.MethodDelete, path: "/channels/" + url.PathEscape(name), query: url.Values{"reason": {reason}}})
}

// TestChannel sends a test there.
func (c *Client) TestChannel(ctx context.Context, name string) (Answer[Announcement], error) {
	return fetch[Announcement](ctx, c, request{method: http.MethodPost, path: "/channels/" + url.PathEscape(name) + "/test", later: true})
}

// ReplayChannel sends again what was given up for the channel.
func (c *Client) ReplayChannel(ctx context.Context, name string) (Answer[Replayed], error) {
	return fetch[Replayed](ctx, c, request{method: http.MethodPost, path: "/channels/" + url.PathEscape(name) + "/replay", later: true})
}

// Announcements reads one page of announcements: of one status and one channel,
// unless those are empty.
func (c *Client) Announcements(ctx context.Context, status, channel string, limit int, cursor string) (Answer[Page[Announcement]], error) {
	q := url.Values{}
	setText(q, "status", status)
	setText(q, "channel", channel)
	setPage(q, limit, cursor)
	return fetch[Page[Announcement]](ctx, c, request{method: http.MethodGet, path: "/announcements", query: q})
}

// Announcement reads one.
func (c *Client) Announcement(ctx context.Context, id string) (Answer[Announcement], error) {
	return fetch[Announcement](ctx, c, request{method: http.MethodGet, path: "/announcements/" + url.PathEscape(id)})
}

// Replay sends again an announcement that was given up.
func (c *Client) Replay(ctx context.Context, id string) (Answer[Announcement], error) {
	return fetch[Announcement](ctx, c, request{method: http.MethodPost, path: "/announcements/" + url.PathEscape(id) + "/replay", later: true})
}
