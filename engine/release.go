package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Release is what the policy makes of a vote: the value of data.gate.release.
type Release struct {
	Outcome     ReleaseOutcome
	Rule        string
	Rationale   string
	Needed      int
	Approvers   []string // whose approval counts, each once, in order
	StartWithin time.Duration
}

// ReleaseOutcome is what becomes of the approval. The zero value is none.
type ReleaseOutcome string

// The outcomes.
const (
	OutcomePending    ReleaseOutcome = "pending"     // the vote counts, more must come
	OutcomeApproved   ReleaseOutcome = "approved"    // enough votes: decide again, and ask with the decision
	OutcomeReleased   ReleaseOutcome = "released"    // it may run
	OutcomeRefused    ReleaseOutcome = "refused"     // the decision of now forbids it
	OutcomeDenied     ReleaseOutcome = "denied"      // somebody said no
	OutcomeExpired    ReleaseOutcome = "expired"     // too late
	OutcomeNotCounted ReleaseOutcome = "not_counted" // this vote does not count
)

// releaseInput is what data.gate.release sees. Its JSON, in RFC 8785 form, is
// kept with the event.
type releaseInput struct {
	Now      string           `json:"now"`
	Approval releaseApproval  `json:"approval"`
	Votes    []releaseVote    `json:"votes"`
	Decision *releaseDecision `json:"decision,omitempty"`
}

type releaseApproval struct {
	ActionType  string   `json:"action_type"`
	BlastRadius string   `json:"blast_radius"`
	Requesters  []string `json:"requesters"`
	OpenedAt    string   `json:"opened_at"`
	ExpiresAt   string   `json:"expires_at"`
}

type releaseVote struct {
	Person   string   `json:"person"`
	Roles    []string `json:"roles"`
	RolesNow []string `json:"roles_now"`
	Verdict  string   `json:"verdict"`
	At       string   `json:"at"`
}

type releaseDecision struct {
	Decision string `json:"decision"`
	Rule     string `json:"rule"`
	Stopped  bool   `json:"stopped"`
}

// prepareRelease reads the table data.gate.approvals and prepares the query
// data.gate.release. A bundle from before approvals has neither: it decides, and
// nothing can be approved under it.
func (p *Policy) prepareRelease(data map[string]any) error {
	if len(p.compiler.GetRules(ast.MustParseRef("data.gate.release"))) == 0 {
		return nil
	}
	gate, _ := data["gate"].(map[string]any)
	approvals, _ := gate["approvals"].(map[string]any)
	raw, err := json.Marshal(approvals["by_radius"])
	if err != nil {
		return fmt.Errorf("data.gate.approvals.by_radius: %w", err)
	}
	if err := json.Unmarshal(raw, &p.terms); err != nil {
		return fmt.Errorf("data.gate.approvals.by_radius: %w", err)
	}
	for radius := Minimal; radius <= Critical; radius++ {
		t := p.terms[radius.String()]
		if t == nil {
			return fmt.Errorf("data.gate.approvals.by_radius.%s is missing", radius)
		}
		if err := t.check(); err != nil {
			return fmt.Errorf("data.gate.approvals.by_radius.%s: %w", radius, err)
		}
	}
	query, err := ast.ParseBody(string(resultVar) + " = data.gate.release")
	if err != nil {
		return err
	}
	p.releaseC = p.compiler.QueryCompiler()
	if p.release, err = p.releaseC.Compile(query); err != nil {
		return fmt.Errorf("prepare data.gate.release: %w", err)
	}
	return nil
}

// askTerms says how many must approve an action of that radius, and how long
// they have.
func (p *Policy) askTerms(radius BlastRadius) (needed int, wait time.Duration) {
	if t := p.terms[radius.String()]; t != nil {
		return t.Approvers, t.wait
	}
	if radius == Critical {
		return 2, DefaultWait
	}
	return 1, DefaultWait
}

// Release asks the policy what a vote makes of an approval. The error wraps
// ErrPolicy unless the answer passed every guard; then nothing is released.
func (p *Policy) Release(ctx context.Context, in *releaseInput) (r Release, canonical []byte, err error) {
	if p.release == nil {
		return r, nil, fmt.Errorf("%w: bundle %s (revision %s): %w: activate one that has it, or let the approval end", ErrPolicy, p.id.BundleHash, p.id.Revision, ErrNoRelease)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return r, nil, fmt.Errorf("%w: release: %w", ErrPolicy, err)
	}
	v := jsontext.Value(text)
	if err := v.Canonicalize(); err != nil {
		return r, nil, fmt.Errorf("%w: release: %w", ErrPolicy, err)
	}
	term, err := p.evalRelease(ctx, mustValue(v))
	if err == nil {
		r, err = parseRelease(term)
	}
	if err == nil {
		err = r.guard(in)
	}
	if err != nil {
		return Release{}, nil, fmt.Errorf("%w: data.gate.release over %s: %w", ErrPolicy, v, err)
	}
	return r, v, nil
}

// evalRelease evaluates with topdown: a vote is rare, and a plan of its own would
// gain nothing that a person notices.
func (p *Policy) evalRelease(ctx context.Context, input ast.Value) (result *ast.Term, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = nil, fmt.Errorf("the evaluation panicked: %v", r)
		}
	}()
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(EvalTimeout, cancel.Cancel)
	defer timer.Stop()
	result, err = p.query1(ctx, p.release, p.releaseC, input, cancel)
	if err == nil && result == nil {
		err = errors.New("data.gate.release is undefined")
	}
	return result, err
}

// parseRelease reads the value of data.gate.release: an object with exactly the
// six keys, each of its type.
func parseRelease(t *ast.Term) (Release, error) {
	var out struct {
		Outcome     ReleaseOutcome `json:"outcome"`
		Rule        string         `json:"rule"`
		Rationale   string         `json:"rationale"`
		Needed      *int           `json:"approvals_needed"`
		Approvers   []string       `json:"approvers"`
		StartWithin string         `json:"start_within"`
	}
	if o, ok := t.Value.(ast.Object); !ok || o.Len() != 6 {
		return Release{}, fmt.Errorf("want an object with 6 keys, got %s", ast.ValueName(t.Value))
	}
	x, err := ast.JSON(t.Value)
	if err != nil {
		return Release{}, err
	}
	text, err := json.Marshal(x)
	if err != nil {
		return Release{}, err
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		return Release{}, err
	}
	if out.Needed == nil || out.Approvers == nil {
		return Release{}, errors.New("approvals_needed or approvers is missing")
	}
	within, err := bounded("start_within", out.StartWithin, minStartWithin, maxStartWithin)
	return Release{out.Outcome, out.Rule, out.Rationale, *out.Needed, out.Approvers, within}, err
}

// guard checks what must hold for any policy whatever: an action is released
// only in time, after a decision of now that neither blocks nor stops it, and by
// people who said yes, hold no agent's credential and did not ask for it.
func (r *Release) guard(in *releaseInput) error {
	if r.Rule == "" || strings.TrimSpace(r.Rationale) == "" || len(r.Rationale) > MaxRationaleBytes {
		return fmt.Errorf("guard: rule or rationale is empty, or the rationale is longer than %d bytes", MaxRationaleBytes)
	}
	if r.Needed < 1 || r.Needed > maxApprovers {
		return fmt.Errorf("guard: approvals_needed is %d, want 1 to %d", r.Needed, maxApprovers)
	}
	may := map[string]bool{}
	for _, v := range in.Votes {
		if v.Verdict == EventApprove && v.Person != "" && !slices.Contains(in.Approval.Requesters, v.Person) && !slices.Contains(v.Roles, "agent") && !slices.Contains(v.RolesNow, "agent") {
			may[v.Person] = true
		}
	}
	seen := map[string]bool{}
	for _, person := range r.Approvers {
		if !may[person] || seen[person] {
			return fmt.Errorf("guard: the approval of %q cannot count, or is counted twice", person)
		}
		seen[person] = true
	}
	enough, late, d := len(seen) >= r.Needed, in.Now >= in.Approval.ExpiresAt, in.Decision
	switch r.Outcome {
	case OutcomeReleased:
		if !enough || late || d == nil || d.Stopped || (d.Decision != Auto.String() && d.Decision != QueuedApproval.String()) {
			return fmt.Errorf("guard: released with %d of %d approvals, late %t, by the decision %+v", len(seen), r.Needed, late, d)
		}
	case OutcomeApproved:
		if !enough || late || d != nil {
			return fmt.Errorf("guard: approved with %d of %d approvals, late %t, by the decision %+v", len(seen), r.Needed, late, d)
		}
	case OutcomeRefused:
		if d == nil {
			return errors.New("guard: refused without a decision")
		}
	case OutcomePending, OutcomeDenied, OutcomeExpired, OutcomeNotCounted:
	default:
		return fmt.Errorf("guard: unknown outcome %q", r.Outcome)
	}
	return nil
}

// tryRelease asks about votes that no policy may count and some that any should
// answer, so that a bundle whose release is undefined or lets anybody pass is
// found before it is active. An evaluation that was late is tried again: whether
// a bundle is taken must not depend on how busy the machine is.
func (p *Policy) tryRelease(ctx context.Context) error {
	if p.release == nil {
		return nil
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tried := map[BlastRadius]bool{}
	for _, a := range append([]Action{{ActionType: "no_such_action_type", BlastRadius: Critical}}, p.actions...) {
		if tried[a.BlastRadius] {
			continue
		}
		tried[a.BlastRadius] = true
		for _, try := range []struct {
			role, verdict string
			left          time.Duration
		}{
			{p.terms[a.BlastRadius.String()].Role, EventApprove, time.Hour},
			{p.terms[a.BlastRadius.String()].Role, EventApprove, 0},
			{p.terms[a.BlastRadius.String()].Role, EventDeny, time.Hour},
			{"agent", EventApprove, time.Hour},
		} {
			in := &releaseInput{Now: FormatTime(now), Approval: releaseApproval{a.ActionType, a.BlastRadius.String(), []string{"asker"}, FormatTime(now), FormatTime(now.Add(try.left))}}
			for _, person := range []string{"a", "asker", "b"} {
				in.Votes = append(in.Votes, releaseVote{person, []string{try.role}, []string{try.role}, try.verdict, FormatTime(now)})
				_, _, err := p.Release(ctx, in)
				for again := 1; again < maxSlow && topdown.IsCancel(err); again++ {
					_, _, err = p.Release(ctx, in)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}
