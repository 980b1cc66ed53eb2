package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// EvalTimeout is how long one evaluation may take. A verdict that comes later
// is none (P3). The slowest honest input takes a hundredth of it.
const EvalTimeout = 250 * time.Millisecond

// PolicySource is a verified bundle, ready to be compiled.
type PolicySource struct {
	ID      PolicyID
	Modules map[string]*ast.Module // parsed with annotations
	Data    map[string]any
}

// Policy is one compiled bundle: the query data.gate.decision, prepared once.
// It is immutable and safe for concurrent use; a new bundle is a new Policy.
type Policy struct {
	id              PolicyID
	actions         []Action
	actionByType    map[string]*Action
	readsParameters bool

	// plan evaluates; it is nil where OPA's plan needs what plan.go lacks, and
	// then topdown does.
	plan *plan

	compiler *ast.Compiler
	query    ast.Body
	queryC   ast.QueryCompiler
	// release is the query data.gate.release and terms the table it goes by;
	// both nil in a bundle that has none.
	release  ast.Body
	releaseC ast.QueryCompiler
	terms    map[string]*terms
	// The store is never written, so that its one read transaction can stay
	// open for the policy's whole life.
	store storage.Store
	txn   storage.Transaction
}

var resultVar = ast.Var("verdict")

// NewPolicy compiles a bundle, prepares its query and tries it on the whole
// grid of action types and tiers. A bundle that does not compile, uses a
// builtin outside the allowlist, or gives no usable verdict for any of them is
// refused.
func NewPolicy(ctx context.Context, src PolicySource) (*Policy, error) {
	p, err := CompilePolicy(ctx, src)
	if err != nil {
		return nil, err
	}
	if err := p.tryOut(ctx); err != nil {
		return nil, fmt.Errorf("policy %s is refused: %w", src.ID.BundleHash, err)
	}
	if err := p.tryRelease(ctx); err != nil {
		return nil, fmt.Errorf("policy %s is refused: %w", src.ID.BundleHash, err)
	}
	return p, nil
}

// CompilePolicy is NewPolicy without the tries: for looking at what a bundle
// decides, wrong as that may be. The guards hold all the same.
func CompilePolicy(ctx context.Context, src PolicySource) (*Policy, error) {
	p, err := newPolicy(ctx, src)
	if err != nil {
		return nil, err
	}
	if err := p.loadActions(src.Data); err != nil {
		return nil, fmt.Errorf("policy %s: %w", src.ID.BundleHash, err)
	}
	return p, nil
}

// newPolicy compiles and prepares.
func newPolicy(ctx context.Context, src PolicySource) (*Policy, error) {
	p := &Policy{id: src.ID}
	p.compiler = ast.NewCompiler().
		WithCapabilities(Capabilities()).
		WithStrict(true).
		WithEnablePrintStatements(false)
	modules := make(map[string]*ast.Module, len(src.Modules))
	for path, m := range src.Modules {
		modules[path] = m.Copy() // the compiler rewrites what it is given
	}
	if p.compiler.Compile(modules); p.compiler.Failed() {
		return nil, fmt.Errorf("policy %s does not compile: %w", src.ID.BundleHash, p.compiler.Errors)
	}
	p.readsParameters = readsParameters(src.Modules)

	query, err := ast.ParseBody(string(resultVar) + " = data.gate.decision")
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", src.ID.BundleHash, err)
	}
	p.queryC = p.compiler.QueryCompiler()
	if p.query, err = p.queryC.Compile(query); err != nil {
		return nil, fmt.Errorf("policy %s: prepare data.gate.decision: %w", src.ID.BundleHash, err)
	}
	// Tables as OPA's own values, so that reading them converts nothing.
	p.store = inmem.NewFromObjectWithOpts(src.Data, inmem.OptReturnASTValuesOnRead(true), inmem.OptRoundTripOnWrite(false))
	if p.txn, err = p.store.NewTransaction(ctx); err != nil {
		return nil, fmt.Errorf("policy %s: %w", src.ID.BundleHash, err)
	}
	if err := p.prepareRelease(src.Data); err != nil {
		return nil, fmt.Errorf("policy %s: %w", src.ID.BundleHash, err)
	}
	data, err := ast.InterfaceToValue(src.Data)
	if err != nil {
		return nil, fmt.Errorf("policy %s: data: %w", src.ID.BundleHash, err)
	}
	if p.plan, err = newPlan(ctx, src, data, false); err != nil && !errors.Is(err, errUnsupported) {
		return nil, fmt.Errorf("policy %s: %w", src.ID.BundleHash, err)
	}
	return p, nil
}

// ID names the policy.
func (p *Policy) ID() PolicyID { return p.id }

// Actions returns the bundle's action table, ordered by radius and name.
func (p *Policy) Actions() []Action { return slices.Clone(p.actions) }

// Rollback says how an action is undone, as the row of a decision has it.
func (p *Policy) Rollback(actionType string) string {
	if a, ok := p.actionByType[actionType]; ok {
		return a.Rollback
	}
	return "Unknown: the action table does not know this action type, so nothing is known about undoing it."
}

// actionTypeName is what an action type looks like in a request.
var actionTypeName = regexp.MustCompile(`^[a-z][a-z0-9_]{1,63}$`)

// loadActions reads data.gate.actions.
func (p *Policy) loadActions(data map[string]any) error {
	gate, _ := data["gate"].(map[string]any)
	raw, err := json.Marshal(gate["actions"])
	if err != nil {
		return fmt.Errorf("data.gate.actions: %w", err)
	}
	var table map[string]struct {
		Action
		BlastRadius string `json:"blast_radius"`
	}
	if err := json.Unmarshal(raw, &table); err != nil {
		return fmt.Errorf("data.gate.actions: %w", err)
	}
	if len(table) == 0 {
		return errors.New("data.gate.actions: the action table is missing or empty")
	}
	p.actionByType = make(map[string]*Action, len(table))
	for _, actionType := range slices.Sorted(maps.Keys(table)) {
		if !actionTypeName.MatchString(actionType) {
			return fmt.Errorf("data.gate.actions: %q is no action type that can be asked about: want %s", actionType, actionTypeName)
		}
		row := table[actionType]
		radius, err := ParseBlastRadius(row.BlastRadius)
		if err != nil {
			return fmt.Errorf("data.gate.actions.%s: %w", actionType, err)
		}
		a := row.Action
		a.ActionType, a.BlastRadius = actionType, radius
		p.actions = append(p.actions, a)
	}
	slices.SortStableFunc(p.actions, func(a, b Action) int { return int(a.BlastRadius) - int(b.BlastRadius) })
	for i := range p.actions {
		p.actionByType[p.actions[i].ActionType] = &p.actions[i]
	}
	return nil
}

// readsParameters reports whether any rule mentions input.request.parameters,
// or reads the request or input so generally that it might.
func readsParameters(modules map[string]*ast.Module) bool {
	want := ast.MustParseRef("input.request.parameters")
	reads := false
	for _, m := range modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			if !r[0].Equal(want[0]) {
				return false
			}
			for i := 1; ; i++ {
				if i == len(want) {
					reads = true
					break
				}
				// Shorter than the path: a whole document that holds it. A
				// variable in the path may stand for it.
				if i == len(r) || (!r[i].Equal(want[i]) && !ast.IsConstant(r[i].Value)) {
					reads = true
					break
				}
				if !r[i].Equal(want[i]) {
					break
				}
			}
			return false
		})
	}
	return reads
}

// Decide asks the policy about one input document. The error wraps ErrPolicy
// unless the verdict passed every guard.
func (p *Policy) Decide(ctx context.Context, input ast.Value) (Verdict, error) {
	term, err := p.eval(ctx, input)
	if err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	v, err := p.verdict(term, input)
	if err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return v, nil
}

// verdict reads and guards what the policy said about input. A verdict that
// comes with an error did not pass the guards and must not be used.
func (p *Policy) verdict(term *ast.Term, input ast.Value) (Verdict, error) {
	v, err := parseVerdict(term)
	if err != nil {
		return Verdict{}, err
	}
	if err := p.guard(&v, input); err != nil {
		return v, fmt.Errorf("guard: %w", err)
	}
	return v, nil
}

// eval returns the value of data.gate.decision, exactly one, in time.
func (p *Policy) eval(ctx context.Context, input ast.Value) (result *ast.Term, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = nil, fmt.Errorf("the evaluation panicked: %v", r)
		}
	}()
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(EvalTimeout, cancel.Cancel)
	defer timer.Stop()
	if p.plan == nil {
		result, err = p.evalTopdown(ctx, input, cancel)
	} else {
		result, err = p.plan.eval(ctx, input, cancel, nil)
	}
	if err == nil && result == nil {
		err = errors.New("data.gate.decision is undefined")
	}
	return result, err
}

// evalTopdown evaluates with OPA's own evaluator.
func (p *Policy) evalTopdown(ctx context.Context, input ast.Value, cancel topdown.Cancel) (*ast.Term, error) {
	return p.query1(ctx, p.query, p.queryC, input, cancel)
}

// query1 evaluates a prepared query that has at most one value.
func (p *Policy) query1(ctx context.Context, query ast.Body, compiler ast.QueryCompiler, input ast.Value, cancel topdown.Cancel) (result *ast.Term, err error) {
	caches := takeCaches()
	defer caches.giveBack()
	n := 0
	err = topdown.NewQuery(query).
		WithQueryCompiler(compiler).
		WithCompiler(p.compiler).
		WithStore(p.store).
		WithTransaction(p.txn).
		WithCancel(cancel).
		WithInput(ast.NewTerm(input)).
		WithStrictBuiltinErrors(true).
		WithMetrics(metrics.NoOp()).
		WithSeed(noSeed{}).
		WithTime(noTime).
		WithVirtualCache(&caches.virtual).
		WithBaseCache(&caches.base).
		Iter(ctx, func(r topdown.QueryResult) error {
			n++
			result = r[resultVar]
			return nil
		})
	if err == nil && n > 1 {
		err = fmt.Errorf("the query has %d values", n)
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// Nothing in a bundle may read the clock or randomness (the builtins are not in
// the allowlist); these make sure that nothing could.
var noTime = time.Unix(1, 0)

type noSeed struct{}

func (noSeed) Read([]byte) (int, error) { return 0, errors.New("no randomness in a policy") }
