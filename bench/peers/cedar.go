package peers

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/cedar-policy/cedar-go"

	"github.com/tiergate/tiergate/engine"
)

//go:embed gate.cedar
var cedarSource []byte

// Cedar is cedar-go. Cedar answers allow or deny with the policies that say
// so; the first of them in the file is the rule.
func Cedar(context.Context) (Peer, error) {
	set, err := cedar.NewPolicySetFromBytes("gate.cedar", cedarSource)
	if err != nil {
		return Peer{}, fmt.Errorf("cedar: %w", err)
	}
	rules := map[cedar.PolicyID]string{}
	order := map[cedar.PolicyID]int{}
	for id, p := range set.All() {
		rules[id] = string(p.Annotations()["rule"])
		order[id] = p.Position().Offset
	}
	// The action table as entities: an action type is in the group of its radius.
	entities := cedar.EntityMap{}
	for name, radius := range radii {
		uid := cedar.NewEntityUID("Action", cedar.String(name))
		group := cedar.NewEntityUID("Action", cedar.String(radius.String()))
		entities[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(group)}
		entities[group] = cedar.Entity{UID: group}
	}
	return Peer{
		Name: "cedar-go",
		Part: factsGiven + "; allow or deny with the policy that decided, no rationale and no id of the whitelist entry",
		Prepare: func(doc []byte) (Ask, error) {
			f, err := parseFacts(doc)
			if err != nil {
				return nil, err
			}
			req := cedar.Request{
				Principal: cedar.NewEntityUID("Agent", "system"),
				Action:    cedar.NewEntityUID("Action", cedar.String(f.action)),
				Resource:  cedar.NewEntityUID("Target", cedar.String(f.target)),
				Context: cedar.NewRecord(cedar.RecordMap{
					"tier": cedar.Long(f.tier), "stopped": cedar.Boolean(f.stopped), "block": cedar.Boolean(f.block),
					"approve": cedar.Boolean(f.approve), "force": cedar.Boolean(f.force), "whitelisted": cedar.Boolean(f.whitelisted != ""),
				}),
			}
			return func() (Answer, error) {
				decision, diagnostic := cedar.Authorize(set, entities, req)
				if len(diagnostic.Errors) > 0 {
					return Answer{}, fmt.Errorf("cedar: %s", diagnostic.Errors[0].Message)
				}
				a := Answer{Decision: "queued_approval", Rule: engine.RuleTierRequiresApproval}
				for i, first := 0, 0; i < len(diagnostic.Reasons); i++ {
					id := diagnostic.Reasons[i].PolicyID
					if at := order[id]; i == 0 || at < first {
						a.Rule, first = rules[id], at
					}
				}
				if decision == cedar.Allow {
					a.Decision = "auto"
				} else if a.Rule == engine.RuleBlockOverride {
					a.Decision = "blocked"
				}
				return a, nil
			}, nil
		},
	}, nil
}
