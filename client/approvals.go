package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
)

// Approval is where the question stands whether one queued action may run.
type Approval struct {
	ID          string         `json:"id"`
	Status      string         `json:"status"`
	ActionType  string         `json:"action_type"`
	Target      string         `json:"target"`
	BlastRadius string         `json:"blast_radius"`
	Requester   string         `json:"requester"`
	OpenedAt    string         `json:"opened_at"`
	ExpiresAt   string         `json:"expires_at"`
	ValidUntil  string         `json:"valid_until"` // of a released one
	Needed      int            `json:"approvals_needed"`
	Approvers   []string       `json:"approvers"`
	Parameters  jsontext.Value `json:"parameters"` // of one that was asked for by id
	Decision    struct {
		Rationale string `json:"rationale"`
		Rollback  string `json:"rollback"`
	} `json:"decision"`
}

func (a Approval) check() error {
	if a.ID == "" || a.Status == "" || a.ActionType == "" {
		return errors.New("an approval without id, status or action_type")
	}
	return nil
}

// ApprovalFilter selects approvals; what is empty selects nothing.
type ApprovalFilter struct {
	Status, ActionType, BlastRadius string
}

// Approvals reads one page of approvals, as Whitelist does of entries.
func (c *Client) Approvals(ctx context.Context, f ApprovalFilter, limit int, cursor string) (Answer[Page[Approval]], error) {
	q := url.Values{}
	setText(q, "status", f.Status)
	setText(q, "action_type", f.ActionType)
	setText(q, "blast_radius", f.BlastRadius)
	setPage(q, limit, cursor)
	return fetch[Page[Approval]](ctx, c, request{method: http.MethodGet, path: "/approvals", query: q})
}

// Approval reads one approval, with what was asked for.
func (c *Client) Approval(ctx context.Context, id string) (Answer[Approval], error) {
	return fetch[Approval](ctx, c, request{method: http.MethodGet, path: "/approvals/" + url.PathEscape(id)})
}

// Approve says yes to the action, and Deny no. The comment is kept with the vote.
func (c *Client) Approve(ctx context.Context, id, comment string) (Answer[Approval], error) {
	return c.vote(ctx, id, "approve", comment)
}

// Deny says no to the action, which ends the approval.
func (c *Client) Deny(ctx context.Context, id, comment string) (Answer[Approval], error) {
	return c.vote(ctx, id, "deny", comment)
}

func (c *Client) vote(ctx context.Context, id, verdict, comment string) (Answer[Approval], error) {
	body := map[string]string{"comment": comment}
	return fetch[Approval](ctx, c, request{method: http.MethodPost, path: "/approvals/" + url.PathEscape(id) + "/" + verdict, body: body})
}
