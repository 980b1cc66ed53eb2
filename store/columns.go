package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// logColumns are the columns of remediation_gate_log in the order in which
// values and scanEntry have them.
var logColumns = []string{
	"tenant_id", "log_seq", "decision_id", "action_id", "action_type", "target", "blast_radius", "maturity_tier",
	"decision", "rule", "rationale", "overrides_applied", "rollback", "actor", "principal", "incident_id", "confidence",
	"read_set", "parameters_digest", "input", "policy_revision", "bundle_hash", "engine_version", "config_epoch",
	"decided_at", "request_digest", "policy_epoch", "approval_id", "supersedes",
}

// logTypes are their PostgreSQL types.
var logTypes = []string{
	"text", "bigint", "uuid", "uuid", "text", "text", "text", "smallint",
	"text", "text", "text", "json", "text", "text", "text", "text", "double precision",
	"json", "text", "bytea", "text", "text", "text", "bigint",
	"timestamptz", "bytea", "bigint", "uuid", "uuid",
}

var logColumnList = strings.Join(logColumns, ", ")

// rowColumns are logColumns and what only a new row has; rowTypes likewise.
var (
	rowColumns = append(slices.Clone(logColumns), leafIndex)
	rowTypes   = append(slices.Clone(logTypes), "bigint")
)

// values are what rowColumns hold for r, less its leaf_index. Text that may be
// missing is NULL when empty. The kinds are string, int64, float64, []byte and
// nil only.
func (r row) values() []any {
	var confidence any
	if r.Confidence != nil {
		confidence = *r.Confidence
	}
	return []any{
		r.TenantID, r.seq, r.DecisionID, r.action, r.ActionType, r.Target, r.BlastRadius.String(), int64(r.MaturityTier),
		r.Decision.String(), r.Rule, r.Rationale, overridesJSON(r.OverridesApplied), r.Rollback, r.Actor, r.Principal,
		orNull(r.IncidentID), confidence, orNull(string(r.ReadSet)), orNull(r.ParametersDigest), r.Input,
		r.Policy.Revision, r.Policy.BundleHash, r.EngineVersion, r.ConfigEpoch, engine.FormatTime(r.DecidedAt), r.Digest[:],
		r.PolicyEpoch, orNull(r.approval), orNull(r.Supersedes), nil,
	}
}

func overridesJSON(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil { // strings always marshal
		panic(err)
	}
	return string(b)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// scanEntry reads a row of logColumns, and more columns behind them.
func scanEntry(scan func(...any) error, more ...any) (*engine.Entry, error) {
	e := &engine.Entry{}
	var radius, decision, overrides string
	var incident, readSet, parametersDigest, approval, supersedes sql.NullString
	var confidence sql.NullFloat64
	var at stamp
	var digest []byte
	dest := append([]any{
		&e.TenantID, &e.LogSeq, &e.DecisionID, &e.ActionID, &e.ActionType, &e.Target, &radius, &e.MaturityTier,
		&decision, &e.Rule, &e.Rationale, &overrides, &e.Rollback, &e.Actor, &e.Principal, &incident, &confidence,
		&readSet, &parametersDigest, &e.Input, &e.Policy.Revision, &e.Policy.BundleHash, &e.EngineVersion, &e.ConfigEpoch,
		&at, &digest, &e.PolicyEpoch, &approval, &supersedes,
	}, more...)
	if err := scan(dest...); err != nil {
		return nil, err
	}
	var err error
	if e.Decision, err = engine.ParseDecision(decision); err != nil {
		return nil, fmt.Errorf("log row %d of tenant %s: %w", e.LogSeq, e.TenantID, err)
	}
	if e.BlastRadius, err = engine.ParseBlastRadius(radius); err != nil {
		return nil, fmt.Errorf("log row %d of tenant %s: %w", e.LogSeq, e.TenantID, err)
	}
	e.OverridesApplied = []string{}
	if err := json.Unmarshal([]byte(overrides), &e.OverridesApplied); err != nil {
		return nil, fmt.Errorf("log row %d of tenant %s: overrides_applied: %w", e.LogSeq, e.TenantID, err)
	}
	e.TierLabel = engine.TierLabel(e.MaturityTier)
	e.IncidentID, e.ParametersDigest = incident.String, parametersDigest.String
	e.ApprovalID, e.Supersedes = approval.String, supersedes.String
	if readSet.Valid {
		e.ReadSet = []byte(readSet.String)
	}
	if confidence.Valid {
		e.Confidence = &confidence.Float64
	}
	e.DecidedAt = time.Time(at)
	copy(e.Digest[:], digest)
	return e, nil
}

// stamp scans a time from either database: a timestamptz, or text in
// engine.TimeLayout.
type stamp time.Time

// Scan reads a column.
func (s *stamp) Scan(src any) error {
	switch v := src.(type) {
	case time.Time:
		*s = stamp(v.UTC())
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return fmt.Errorf("stored time: %w", err)
		}
		*s = stamp(t.UTC())
	case nil:
		*s = stamp{}
	default:
		return fmt.Errorf("stored time is a %T", src)
	}
	return nil
}

// looseStamp is a stamp of a time that decides nothing: one that cannot be read
// is the zero time.
type looseStamp time.Time

// Scan reads a column.
func (s *looseStamp) Scan(src any) error {
	var t stamp
	if t.Scan(src) == nil {
		*s = looseStamp(t)
	} else {
		*s = looseStamp{}
	}
	return nil
}

// expiry scans the time that something is in force until. One that cannot be
// read, such as PostgreSQL's infinity, is a fault of that row and no error of
// the query.
type expiry struct {
	at    time.Time // zero: none
	fault error
}

// Scan reads a column.
func (e *expiry) Scan(src any) error {
	*e = expiry{}
	var t stamp
	if err := t.Scan(src); err != nil {
		e.fault = fmt.Errorf("expires_at: %w", err)
	} else if at := time.Time(t); src != nil && (at.Year() < 1 || at.Year() > 9999) {
		e.fault = fmt.Errorf("expires_at: year %d is outside 1 to 9999", at.Year())
	} else {
		e.at = at
	}
	return nil
}
