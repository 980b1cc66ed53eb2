package engine

import (
	"strconv"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/go-json-experiment/json/jsontext"
)

// A fragment is one override or whitelist entry as the policy sees it, in both
// forms that a decision needs: the RFC 8785 bytes that the row keeps and the
// parsed term that OPA reads. Both are made once, when the configuration
// changes, so that a decision only joins them.
type fragment struct {
	json []byte
	term *ast.Term
}

// TimeLayout is how times are written: RFC 3339 in UTC with three decimals.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// FormatTime writes t in TimeLayout; finer parts of t are cut off.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeLayout) }

// NewOverride completes o (all exported fields set) for use in decisions.
// Constraints that are no JSON become null, which the policy judges as unsound;
// they never fail a decision.
func NewOverride(o Override) *Override {
	o.Constraints = canonicalOrNull(o.Constraints)
	expires := "null"
	if o.ExpiresAt != nil {
		expires = `"` + FormatTime(*o.ExpiresAt) + `"`
	}
	b := make([]byte, 0, 64+len(o.Constraints))
	b = append(b, `{"constraints":`...)
	b = append(b, o.Constraints...)
	b = append(b, `,"expires_at":`...)
	b = append(b, expires...)
	b = append(b, `,"mode":`...)
	b = appendString(b, string(o.Mode))
	b = append(b, '}')
	o.fragment = newFragment(b)
	return &o
}

// NewWhitelistEntry completes w (all exported fields set) for use in
// decisions, as NewOverride does.
func NewWhitelistEntry(w WhitelistEntry) *WhitelistEntry {
	w.Constraints = canonicalOrNull(w.Constraints)
	b := make([]byte, 0, 160+len(w.Constraints))
	b = append(b, `{"action_type":`...)
	b = appendString(b, w.ActionType)
	b = append(b, `,"constraints":`...)
	b = append(b, w.Constraints...)
	b = append(b, `,"expires_at":"`...)
	b = append(b, FormatTime(w.ExpiresAt)...)
	b = append(b, `","id":`...)
	b = appendString(b, w.ID)
	b = append(b, '}')
	w.fragment = newFragment(b)
	return &w
}

func newFragment(b []byte) fragment {
	return fragment{json: b, term: ast.NewTerm(mustValue(b))}
}

// mustValue parses JSON that this package made.
func mustValue(b []byte) ast.Value {
	var x any
	if err := util.UnmarshalJSON(b, &x); err != nil {
		panic("engine: own JSON does not parse: " + err.Error())
	}
	return ast.MustInterfaceToValue(x)
}

func canonicalOrNull(b []byte) []byte {
	v := jsontext.Value(append([]byte(nil), b...))
	if err := v.Canonicalize(); err != nil {
		return []byte("null")
	}
	return v
}

func appendString(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil { // invalid UTF-8 becomes U+FFFD; the door refuses it before
		return out
	}
	return out
}

var (
	keyNow        = ast.InternedTerm("now")
	keyRequest    = ast.InternedTerm("request")
	keyTenant     = ast.InternedTerm("tenant")
	keyOverrides  = ast.InternedTerm("overrides")
	keyWhitelist  = ast.InternedTerm("whitelist")
	keyActionType = ast.InternedTerm("action_type")
	keyTarget     = ast.InternedTerm("target")
	keyActor      = ast.InternedTerm("actor")
	keyConfidence = ast.InternedTerm("confidence")
	keyParameters = ast.InternedTerm("parameters")
	keyID         = ast.InternedTerm("id")
	keyTier       = ast.InternedTerm("maturity_tier")
	keyStopped    = ast.InternedTerm("stopped")
)

// newInput joins request, facts and clock into the input document: the RFC 8785
// bytes that the row keeps, and the same document parsed for OPA. parameters
// enter only when withParameters is set.
func newInput(r *Request, f *Facts, now time.Time, withParameters bool) ([]byte, ast.Value) {
	nowText := FormatTime(now)
	confidence := ""
	if r.Confidence != nil {
		confidence = canonicalNumber(*r.Confidence)
	}
	withParameters = withParameters && r.Parameters != nil

	b := make([]byte, 0, 384)
	b = append(b, `{"now":"`...)
	b = append(b, nowText...)
	b = append(b, `","overrides":[`...)
	overrides := make([]*ast.Term, len(f.Overrides))
	for i, o := range f.Overrides {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, o.fragment.json...)
		overrides[i] = o.fragment.term
	}
	b = append(b, `],"request":{"action_type":`...)
	b = appendString(b, r.ActionType)
	b = append(b, `,"actor":`...)
	b = appendString(b, r.Actor)
	request := [][2]*ast.Term{
		{keyActionType, ast.StringTerm(r.ActionType)},
		{keyTarget, ast.StringTerm(r.Target)},
		{keyActor, ast.StringTerm(r.Actor)},
	}
	if confidence != "" {
		b = append(b, `,"confidence":`...)
		b = append(b, confidence...)
		request = append(request, [2]*ast.Term{keyConfidence, ast.NewTerm(ast.Number(confidence))})
	}
	if withParameters {
		b = append(b, `,"parameters":`...)
		b = append(b, r.Parameters...)
		request = append(request, [2]*ast.Term{keyParameters, ast.NewTerm(mustValue(r.Parameters))})
	}
	b = append(b, `,"target":`...)
	b = appendString(b, r.Target)
	b = append(b, `},"tenant":{"id":`...)
	b = appendString(b, f.TenantID)
	b = append(b, `,"maturity_tier":`...)
	b = strconv.AppendInt(b, int64(f.MaturityTier), 10)
	b = append(b, `,"stopped":`...)
	b = strconv.AppendBool(b, f.Stopped)
	b = append(b, `},"whitelist":[`...)
	whitelist := make([]*ast.Term, len(f.Whitelist))
	for i, w := range f.Whitelist {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, w.fragment.json...)
		whitelist[i] = w.fragment.term
	}
	b = append(b, `]}`...)

	doc := ast.NewObject(
		[2]*ast.Term{keyNow, ast.StringTerm(nowText)},
		[2]*ast.Term{keyRequest, ast.ObjectTerm(request...)},
		[2]*ast.Term{keyTenant, ast.ObjectTerm(
			[2]*ast.Term{keyID, ast.StringTerm(f.TenantID)},
			[2]*ast.Term{keyTier, ast.InternedTerm(f.MaturityTier)},
			[2]*ast.Term{keyStopped, ast.InternedTerm(f.Stopped)},
		)},
		[2]*ast.Term{keyOverrides, ast.ArrayTerm(overrides...)},
		[2]*ast.Term{keyWhitelist, ast.ArrayTerm(whitelist...)},
	)
	return b, doc
}

// canonicalNumber writes a number 0..1 as RFC 8785 does.
func canonicalNumber(f float64) string {
	v := jsontext.Value(strconv.FormatFloat(f, 'g', -1, 64))
	if err := v.Canonicalize(); err != nil {
		panic("engine: confidence is no JSON number: " + err.Error())
	}
	return string(v)
}
