package engine_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/enginetest"
)

// What is parsed is what OPA's own conversion gives, value by value.
func TestParseDocumentAsOPADoes(t *testing.T) {
	documents := enginetest.Corpus(3000)
	for _, more := range []string{
		`{"a":"\u00e9\ud83d\ude00\n","b":[],"c":{},"d":[null,true,false,0,-0,1.50,1e3,"x"]}`, `{"":{"":[[[]]]}}`,
	} {
		documents = append(documents, []byte(`{"now":"2026-11-23T08:00:00Z","request":{"action_type":"a","target":"b"},"tenant":{"maturity_tier":1},"more":`+more+`}`))
	}
	parsed := 0
	for _, doc := range documents {
		got, err := engine.ParseDocument(doc)
		if err != nil {
			continue
		}
		parsed++
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		var x any
		if err := dec.Decode(&x); err != nil {
			t.Fatal(err)
		}
		if want := ast.MustInterfaceToValue(x); ast.Compare(got, want) != 0 || got.String() != want.String() {
			t.Errorf("%s: %v, want %v", doc, got, want)
		}
	}
	if parsed < len(documents)/2 {
		t.Errorf("only %d of %d documents were parsed", parsed, len(documents))
	}
}

// What JSON readers disagree about, and a frame that is wrong, is no document;
// the message names the place.
func TestParseDocumentRefuses(t *testing.T) {
	good := `{"now":"2026-11-23T08:00:00Z","request":{"action_type":"a","target":"b"},"tenant":{"id":"t","maturity_tier":1,"stopped":false}}`
	if _, err := engine.ParseDocument([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{good, "", "it is empty"},
		{good, good + "{}", "more behind"},
		{good, good[:len(good)-1], "unexpected EOF"},
		{good, "[" + good + "]", "want an object"},
		{`"stopped"`, `"id"`, "duplicate"},
		{`"b"`, "\"\xff\"", "UTF-8"},
		{`"b"`, `"\ud800"`, "surrogate"},
		{`"b"`, `"b",}`, "invalid character"},
		{`"b"`, `"b","confidence":1e99999`, "/request/confidence: a number with an exponent"},
		{`"b"`, `"b","confidence":` + strings.Repeat("1", 401), "longer than 400 bytes"},
		{`"b"`, `"b","confidence":"1"`, "request.confidence"},
		{`"b"`, `"b","actor":null`, "request.actor"},
		{`"b"`, `""`, "request.target"},
		{`"a"`, `7`, "request.action_type"},
		{`"t"`, `null`, "tenant.id"},
		{`:1`, `:1.0`, "tenant.maturity_tier"},
		{`:1`, `:5`, "tenant.maturity_tier"},
		{`:1`, `:"1"`, "tenant.maturity_tier"},
		{`false`, `0`, "tenant.stopped"},
		{`Z"`, `+01:00"`, "now:"},
		{`"now"`, `"Now"`, "now:"},
	} {
		doc := strings.Replace(good, c[0], c[1], 1)
		if _, err := engine.ParseDocument([]byte(doc)); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%.200s: %v, want %q", doc, err, c[2])
		}
	}
}

func BenchmarkParseDocument(b *testing.B) {
	documents := enginetest.Corpus(200)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = engine.ParseDocument(documents[i%len(documents)])
	}
}
