package server

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

const (
	maxBody      = 64 << 10
	maxBatchBody = 4 << 20
	maxDigits    = 20

	maxParametersDepth = 8
)

// readBody reads a JSON body of at most limit bytes.
func readBody(c *gin.Context, limit int64) ([]byte, error) {
	if !isJSON(c.Request.Header["Content-Type"]) {
		return nil, problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be JSON", "Send Content-Type: application/json in UTF-8.")
	}
	return readBytes(c, limit)
}

// readBytes reads a body of any type, at most limit bytes.
func readBytes(c *gin.Context, limit int64) ([]byte, error) {
	if enc := c.GetHeader("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body is encoded", "Send the body without Content-Encoding.")
	}
	length := c.Request.ContentLength
	if length > limit {
		return nil, tooLarge(limit)
	}
	if length >= 0 {
		// net/http gives a body of a known length no more than that.
		body := make([]byte, length)
		if _, err := io.ReadFull(c.Request.Body, body); err != nil {
			return nil, badField("", "the body could not be read")
		}
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(c.Request.Body, limit+1))
	if err != nil {
		return nil, badField("", "the body could not be read")
	}
	if int64(len(body)) > limit {
		return nil, tooLarge(limit)
	}
	return body, nil
}

func tooLarge(limit int64) *Problem {
	return problem(http.StatusRequestEntityTooLarge, "too_large", "The request is too large", fmt.Sprintf("At most %d bytes are read.", limit))
}

// isJSON reports whether the one Content-Type says JSON in UTF-8.
func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == "application/json" {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType[0])
	charset := params["charset"]
	return err == nil && media == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// decodeStrict reads one JSON object into v. Keys are matched to the letter;
// unknown and duplicate keys, trailing data, nulls (but for expires_at), invalid
// UTF-8, control characters and long numbers are refused, each with its field.
// Inside a top-level "parameters", nulls and control characters but U+0000 pass,
// but it may nest only 8 deep.
func decodeStrict(body []byte, v any) error {
	if err := checkTokens(body); err != nil {
		return err
	}
	return unmarshalStrict(body, v)
}

// unmarshalStrict is the second half of decodeStrict, for what checkTokens passed.
func unmarshalStrict(body []byte, v any) error {
	err := json.Unmarshal(body, v, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return syntaxProblem(err)
	}
	field := fieldName(semantic.JSONPointer)
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return badField(field, "unknown key")
	case semantic.JSONKind == '0' && semantic.GoType != nil && semantic.GoType.Kind().String() != "string":
		return badField(field, "the number is out of range or not of the wanted kind")
	default:
		return badField(field, fmt.Sprintf("wrong type: got %s", kindName(semantic.JSONKind)))
	}
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return "something else"
}

func syntaxProblem(err error) *Problem {
	field := "" // the body as a whole, unless the decoder knows better
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		field = fieldName(s.JSONPointer)
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return badField(field, "duplicate key")
	}
	text := strings.TrimPrefix(err.Error(), "jsontext: ")
	if len(text) > 200 {
		text = text[:200]
	}
	return badField(field, "the body is no valid JSON in UTF-8: "+strings.ToValidUTF8(text, "?"))
}

var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// checkTokens walks the body once, in memory that does not grow with it.
func checkTokens(body []byte) error {
	dec := decoders.Get().(*jsontext.Decoder)
	dec.Reset(bytes.NewBuffer(body)) // which it reads in place
	defer decoders.Put(dec)
	parametersAt := -1 // the depth at which "parameters" was opened
	for {
		t, err := dec.ReadToken()
		if err == io.EOF {
			return badField("", "the body is empty")
		}
		if err != nil {
			return syntaxProblem(err)
		}
		depth := dec.StackDepth()
		inside := parametersAt >= 0 && depth >= parametersAt
		if !inside {
			parametersAt = -1
		} else if depth > maxParametersDepth+1 {
			return badField("parameters", fmt.Sprintf("must nest at most %d deep", maxParametersDepth))
		}
		switch t.Kind() {
		case '"':
			s := t.String()
			if kind, n := dec.StackIndex(depth); depth == 1 && kind == '{' && n%2 == 1 && s == "parameters" {
				parametersAt = 2 // what it holds, if it is an object
			}
			if i := strings.IndexFunc(s, func(r rune) bool { return r == 0 || (!inside && unicode.IsControl(r)) }); i >= 0 {
				return badField(fieldName(dec.StackPointer()), "control character")
			}
		case '0':
			if err := checkNumber(t.String()); err != nil {
				return badField(fieldName(dec.StackPointer()), err.Error())
			}
		case 'n':
			if p := dec.StackPointer(); !inside && p.LastToken() != "expires_at" {
				return badField(fieldName(p), "null is not taken; leave the key out")
			}
		}
		if depth == 0 {
			break
		}
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return badField("", "there is more behind the JSON value")
	}
	return nil
}

func checkNumber(s string) error {
	digits := 0
	for i := 0; i < len(s); i++ {
		if s[i] >= '0' && s[i] <= '9' {
			digits++
		}
	}
	if digits > maxDigits {
		return fmt.Errorf("a number of more than %d digits", maxDigits)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return errors.New("the number is out of range")
	}
	// RFC 8785 writes what a double holds. A number that it does not hold would be
	// another one in the log, and one approval would stand for two actions: 64-bit
	// ids are such numbers. A fraction may have the 17 digits that some programs
	// write of every double.
	significant, exponent := decimalOf(s)
	kept, keptExponent := decimalOf(strconv.FormatFloat(v, 'e', -1, 64))
	whole := exponent >= 0 || keptExponent >= 0
	if (significant == "0") != (kept == "0") || len(significant) > 17 || whole && (significant != kept || exponent != keptExponent) {
		return errors.New("the number cannot be kept as it is written: a double holds every integer up to 2^53 only, and 17 significant digits (RFC 7493). Send it as a string")
	}
	return nil
}

// decimalOf is the value of a JSON number without its sign: its digits without
// zeros at either end, and the power of ten behind them.
func decimalOf(s string) (digits string, exponent int) {
	s = strings.TrimPrefix(s, "-")
	mantissa, power, _ := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	exponent, _ = strconv.Atoi(power) // what overflows is no double, or 0
	exponent -= len(fraction)
	all := strings.TrimLeft(whole+fraction, "0")
	digits = strings.TrimRight(all, "0")
	if digits == "" {
		return "0", 0
	}
	return digits, exponent + len(all) - len(digits)
}

// fieldName writes a JSON pointer as a person would: decisions[3].target.
func fieldName(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		if b.Len() > 200 {
			b.WriteString("…")
			break
		}
		if _, err := strconv.Atoi(token); err == nil && b.Len() > 0 {
			fmt.Fprintf(&b, "[%s]", token)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		if len(token) > 64 {
			token = token[:64] + "…"
		}
		b.WriteString(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return '?'
			}
			return r
		}, strings.ToValidUTF8(token, "?")))
	}
	return b.String()
}

const maxFaults = 32

// faults collects what is wrong with fields, to report all of it at once.
type faults []engine.FieldError

func (f *faults) add(field, format string, args ...any) {
	if len(*f) == maxFaults {
		return // enough to mend; the answer must not outgrow the request
	}
	*f = append(*f, engine.FieldError{Field: field, Detail: fmt.Sprintf(format, args...)})
}

// nest takes over the faults of a part, whose fields lie below parent.
func (f *faults) nest(parent string, err error) {
	var p *Problem
	if !errors.As(err, &p) || len(p.Errors) == 0 {
		f.add(parent, "cannot be read")
		return
	}
	for _, e := range p.Errors {
		f.add(under(parent, e.Field), "%s", e.Detail)
	}
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	// Some were found in the order of a map.
	slices.SortStableFunc(f, func(a, b engine.FieldError) int { return cmp.Compare(a.Field, b.Field) })
	return badFields(f...)
}
