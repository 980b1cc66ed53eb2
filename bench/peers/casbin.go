package peers

import (
	"context"
	"fmt"
	"strconv"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
)

// The tree as a table of rows, tried in order; "*" is anything. The request
// brings its blast radius: casbin has no data beside its policy.
const casbinModel = `
[request_definition]
r = block, stopped, radius, approve, force, tier, whitelisted

[policy_definition]
p = rule, block, stopped, radius, approve, force, tier, whitelisted, eft

[policy_effect]
e = priority(p.eft) || deny

[matchers]
m = (p.block == "*" || r.block == p.block) && (p.stopped == "*" || r.stopped == p.stopped) && (p.radius == "*" || r.radius == p.radius) && \
  (p.approve == "*" || r.approve == p.approve) && (p.force == "*" || r.force == p.force) && (p.tier == "*" || r.tier == p.tier) && \
  (p.whitelisted == "*" || r.whitelisted == p.whitelisted)
`

// casbinRows are the rows above those of the tiers.
var casbinRows = [][]string{
	{"block_override", "true", "*", "*", "*", "*", "*", "*", "deny"},
	{"stopped", "*", "true", "*", "*", "*", "*", "*", "deny"},
	{"critical_never_auto", "*", "*", "CRITICAL", "*", "*", "*", "*", "deny"},
	{"approval_override", "*", "*", "*", "true", "*", "*", "*", "deny"},
	{"force_auto_override", "*", "*", "*", "*", "true", "*", "*", "allow"},
	{"whitelist_match", "*", "*", "HIGH", "*", "*", "4", "true", "allow"},
	{"no_whitelist_match", "*", "*", "HIGH", "*", "*", "4", "false", "deny"},
}

// Casbin is casbin with a table of the decision tree.
func Casbin(context.Context) (Peer, error) {
	m, err := model.NewModelFromString(casbinModel)
	if err != nil {
		return Peer{}, fmt.Errorf("casbin: %w", err)
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return Peer{}, fmt.Errorf("casbin: %w", err)
	}
	rows := casbinRows
	for i, radius := range []string{"MINIMAL", "LOW", "MEDIUM"} {
		for tier := i + 1; tier <= 4; tier++ {
			rows = append(rows, []string{"tier_allows", "*", "*", radius, "*", "*", strconv.Itoa(tier), "*", "allow"})
		}
	}
	rows = append(rows, []string{"tier_requires_approval", "*", "*", "*", "*", "*", "*", "*", "deny"})
	if _, err := e.AddPolicies(rows); err != nil {
		return Peer{}, fmt.Errorf("casbin: %w", err)
	}
	return Peer{
		Name: "casbin",
		Part: factsGiven + ", and so is the blast radius; allow or deny with the row that decided, no rationale and no id of the whitelist entry",
		Prepare: func(doc []byte) (Ask, error) {
			f, err := parseFacts(doc)
			if err != nil {
				return nil, err
			}
			request := []any{strconv.FormatBool(f.block), strconv.FormatBool(f.stopped), radiusOf(f.action).String(), strconv.FormatBool(f.approve),
				strconv.FormatBool(f.force), strconv.Itoa(f.tier), strconv.FormatBool(f.whitelisted != "")}
			return func() (Answer, error) {
				allow, row, err := e.EnforceEx(request...)
				if err != nil || len(row) == 0 {
					return Answer{}, fmt.Errorf("casbin: no row decided: %w", err)
				}
				a := Answer{Decision: "queued_approval", Rule: row[0]}
				if allow {
					a.Decision = "auto"
				} else if a.Rule == "block_override" {
					a.Decision = "blocked"
				}
				return a, nil
			}, nil
		},
	}, nil
}
