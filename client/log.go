package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// LogQuery selects rows of the gate log. Empty fields select nothing away.
type LogQuery struct {
	From, To     string // RFC 3339 with Z
	Decision     string
	ActionType   string
	BlastRadius  string
	Actor        string
	TargetPrefix string
	IncidentID   string
	Rule         string
	Outcome      string // executed, failed, rolled_back or none: what was reported last
	Input        bool   // with what the policy saw
	Limit        int    // 0: the gate's default
	Cursor       string
}

// LogEntry is a row of the gate log.
type LogEntry struct {
	LogSeq      int64  `json:"log_seq"`
	DecidedAt   string `json:"decided_at"`
	Decision    string `json:"decision"`
	Rule        string `json:"rule"`
	BlastRadius string `json:"blast_radius"`
	TierLabel   string `json:"tier_label"`
	ActionType  string `json:"action_type"`
	Actor       string `json:"actor"`
	Target      string `json:"target"`
}

func (e LogEntry) check() error {
	if e.LogSeq < 1 || e.Decision == "" {
		return errors.New("a row without log_seq or decision")
	}
	return nil
}

// Row is a row and its JSON as it came.
type Row struct {
	LogEntry
	JSON jsontext.Value
}

// UnmarshalJSON keeps the JSON beside the fields.
func (r *Row) UnmarshalJSON(raw []byte) error {
	r.JSON = jsontext.Value(raw).Clone()
	return json.Unmarshal(raw, &r.LogEntry)
}

// Log reads one page of the gate log, newest first.
func (c *Client) Log(ctx context.Context, q LogQuery) (Answer[Page[Row]], error) {
	v := url.Values{}
	for key, value := range map[string]string{
		"from": q.From, "to": q.To, "decision": q.Decision, "action_type": q.ActionType, "blast_radius": q.BlastRadius,
		"actor": q.Actor, "target_prefix": q.TargetPrefix, "incident_id": q.IncidentID, "rule": q.Rule, "outcome": q.Outcome,
	} {
		setText(v, key, value)
	}
	if q.Input {
		v.Set("input", "true")
	}
	setPage(v, q.Limit, q.Cursor)
	a, err := fetch[Page[Row]](ctx, c, request{method: http.MethodGet, path: "/gate-log", query: v})
	if err != nil {
		return a, err
	}
	rows := a.Value.Entries
	for i := 1; i < len(rows); i++ {
		if rows[i].LogSeq >= rows[i-1].LogSeq {
			return Answer[Page[Row]]{}, fmt.Errorf("%w: its rows are not newest first", ErrAnswer)
		}
	}
	return a, nil
}
