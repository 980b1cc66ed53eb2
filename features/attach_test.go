package features

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cucumber/godog"
)

// attachDecisions adds to a step's result the rows that the scenario's tenant has
// in the gate log since.
func (w *world) attachDecisions(ctx context.Context, _ *godog.Step, _ godog.StepResultStatus, err error) (context.Context, error) {
	rows, queryErr := w.db.QueryContext(ctx, `SELECT tenant_id, log_seq, decision_id, action_type, target, decision, rule, rationale, bundle_hash
		FROM remediation_gate_log WHERE tenant_id LIKE $1 ORDER BY tenant_id, log_seq`, fmt.Sprintf("%%.%d", w.number))
	if queryErr != nil {
		return ctx, err // a scenario may have stopped its database
	}
	defer rows.Close()
	for rows.Next() {
		var d struct {
			TenantID   string `json:"tenant_id"`
			LogSeq     int64  `json:"log_seq"`
			DecisionID string `json:"decision_id"`
			ActionType string `json:"action_type"`
			Target     string `json:"target"`
			Decision   string `json:"decision"`
			Rule       string `json:"rule"`
			Rationale  string `json:"rationale"`
			BundleHash string `json:"bundle_hash"`
		}
		if scanErr := rows.Scan(&d.TenantID, &d.LogSeq, &d.DecisionID, &d.ActionType, &d.Target, &d.Decision, &d.Rule, &d.Rationale, &d.BundleHash); scanErr != nil {
			return ctx, scanErr
		}
		text, jsonErr := json.Marshal(d)
		if jsonErr != nil {
			return ctx, jsonErr
		}
		if !w.attached[d.DecisionID] {
			if w.attached == nil {
				w.attached = map[string]bool{}
			}
			w.attached[d.DecisionID] = true
			ctx = godog.Attach(ctx, godog.Attachment{Body: text, FileName: d.DecisionID, MediaType: "application/json"})
		}
	}
	return ctx, err
}
