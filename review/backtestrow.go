package review

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/engine"
)

// Difference is one field in which a row is not what its own policy says.
type Difference struct {
	Field  string `json:"field"`
	Logged string `json:"logged"`
	Now    string `json:"now"`
}

// Differences compares a row with what its policy says about its input, and
// with the input itself. Any is a violation of P4.
func Differences(row *engine.LoggedDecision, input ast.Value, v *engine.Verdict, failed error) []Difference {
	if failed != nil {
		return []Difference{{"decision", row.Decision, "no decision: " + failed.Error()}}
	}
	var list []Difference
	add := func(field, logged, now string) {
		if logged != now {
			list = append(list, Difference{field, logged, now})
		}
	}
	add("decision", row.Decision, v.Decision.String())
	add("rule", row.Rule, v.Rule)
	add("rationale", row.Rationale, v.Rationale)
	add("blast_radius", row.BlastRadius, v.BlastRadius.String())
	if row.MaturityTier != v.MaturityTier {
		add("maturity_tier", strconv.Itoa(row.MaturityTier), strconv.Itoa(v.MaturityTier))
	}
	if !sameOverrides(row.OverridesApplied, v.OverridesApplied) {
		now, _ := json.Marshal(v.OverridesApplied)
		add("overrides_applied", row.OverridesApplied, string(now))
	}
	if actionType, ok := textAt(input, "request", "action_type"); ok {
		add("action_type", row.ActionType, actionType)
	}
	if tenant, ok := textAt(input, "tenant", "id"); ok {
		add("tenant_id", row.TenantID, tenant)
	}
	return list
}

func sameOverrides(logged string, now []string) bool {
	if logged == "[]" && len(now) == 0 {
		return true
	}
	var list []string
	return json.Unmarshal([]byte(logged), &list) == nil && list != nil && slices.Equal(list, now)
}

// loggedVerdict is what the row says was decided.
func loggedVerdict(row *engine.LoggedDecision) (v engine.Verdict, err error) {
	v = engine.Verdict{Rule: row.Rule, Rationale: row.Rationale, MaturityTier: row.MaturityTier}
	if v.Decision, err = engine.ParseDecision(row.Decision); err != nil {
		return v, err
	}
	if v.BlastRadius, err = engine.ParseBlastRadius(row.BlastRadius); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(row.OverridesApplied), &v.OverridesApplied); err != nil {
		return v, fmt.Errorf("overrides_applied: %w", err)
	}
	return v, nil
}

// textAt reads a string from an object in an object.
func textAt(v ast.Value, keys ...string) (string, bool) {
	for _, key := range keys {
		o, ok := v.(ast.Object)
		if !ok {
			return "", false
		}
		t := o.Get(ast.InternedTerm(key))
		if t == nil {
			return "", false
		}
		v = t.Value
	}
	s, ok := v.(ast.String)
	return string(s), ok
}

var (
	keyRequest    = ast.StringTerm("request")
	keyParameters = ast.StringTerm("parameters")
)

// newInput is the input as New would have seen it: with the request's
// parameters if it reads them. Nil if it does and they are gone.
func (r *replayer) newInput(row *engine.LoggedDecision, input ast.Value) ast.Value {
	if !r.new.ReadsParameters() || row.ParametersDigest == "" {
		return input
	}
	document, _ := input.(ast.Object)
	request, _ := document.Get(keyRequest).Value.(ast.Object) // ParseDocument has seen both
	if request.Get(keyParameters) != nil {
		return input
	}
	sum := sha256.Sum256(row.Parameters)
	if !strings.EqualFold(row.ParametersDigest, "sha256:"+hex.EncodeToString(sum[:])) {
		return nil
	}
	parameters, err := ast.ValueFromReader(strings.NewReader(string(row.Parameters)))
	if err != nil {
		return nil
	}
	changed := document.Copy()
	full := changed.Get(keyRequest).Value.(ast.Object)
	full.Insert(keyParameters, ast.NewTerm(parameters))
	changed.Insert(keyRequest, ast.NewTerm(full))
	return changed
}
