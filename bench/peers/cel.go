package peers

import (
	"context"
	_ "embed"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

//go:embed gate.cel
var celSource string

// CEL is cel-go: the tree as one expression, whose value is the list of
// decision, rule, rationale and override applied.
func CEL(context.Context) (Peer, error) {
	env, err := cel.NewEnv(ext.Bindings(),
		cel.Variable("action", cel.StringType), cel.Variable("tier", cel.IntType), cel.Variable("stopped", cel.BoolType),
		cel.Variable("block", cel.BoolType), cel.Variable("approve", cel.BoolType), cel.Variable("force", cel.BoolType),
		cel.Variable("whitelisted", cel.StringType))
	if err != nil {
		return Peer{}, fmt.Errorf("cel: %w", err)
	}
	ast, issues := env.Compile(celSource)
	if issues.Err() != nil {
		return Peer{}, fmt.Errorf("cel: %w", issues.Err())
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return Peer{}, fmt.Errorf("cel: %w", err)
	}
	return Peer{
		Name: "cel-go",
		Part: factsGiven + "; the rationale is made",
		Prepare: func(doc []byte) (Ask, error) {
			f, err := parseFacts(doc)
			if err != nil {
				return nil, err
			}
			vars, err := cel.NewActivation(map[string]any{
				"action": f.action, "tier": f.tier, "stopped": f.stopped,
				"block": f.block, "approve": f.approve, "force": f.force, "whitelisted": f.whitelisted,
			})
			if err != nil {
				return nil, err
			}
			return func() (Answer, error) {
				out, _, err := program.Eval(vars)
				if err != nil {
					return Answer{}, fmt.Errorf("cel: %w", err)
				}
				list, ok := out.(traits.Lister)
				if !ok {
					return Answer{}, fmt.Errorf("cel: the value is a %s", out.Type())
				}
				text := func(i int) string { s, _ := list.Get(types.Int(i)).(types.String); return string(s) }
				a := Answer{Decision: text(0), Rule: text(1), Rationale: text(2), Applied: []string{}}
				if applied := text(3); applied != "" {
					a.Applied = []string{applied}
				}
				return a, nil
			}, nil
		},
	}, nil
}
