package client

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
)

// ErrAnswer is wrapped where something answered that is no gate, or not as a
// gate does.
var ErrAnswer = errors.New("this is not the answer of a gate")

// Unreachable is an error of the way to the gate and back.
type Unreachable struct {
	URL   string
	Cause string
	// Unknown says that a change may have been made, although nobody said so.
	Unknown bool
	err     error
}

func (u *Unreachable) Error() string {
	s := fmt.Sprintf("cannot reach the gate at %s: %s", u.URL, u.Cause)
	if u.Unknown {
		s += "; whether it was done is not known: look before you repeat it"
	}
	return s
}

func (u *Unreachable) Unwrap() error { return u.err }

// Problem is a gate's refusal, as RFC 9457 has it. Its texts are ready to be
// shown.
type Problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail"`
	Errors []Fault `json:"errors,omitempty"`

	document []byte
}

// Document is the refusal as JSON, for machines: what the gate said, without the
// token. It is not made fit for a terminal.
func (p *Problem) Document() []byte { return p.document }

// Fault is one field that is at fault.
type Fault struct {
	Field  string `json:"field"` // empty for the whole body
	Detail string `json:"detail"`
}

// Kind is the name that never changes, such as stale_configuration.
func (p *Problem) Kind() string { return p.Type[strings.LastIndex(p.Type, "/")+1:] }

// Error says in one line what is wrong and where.
func (p *Problem) Error() string {
	detail := p.Detail
	if len(p.Errors) > 0 {
		var faults []string
		for _, f := range p.Errors {
			if f.Field != "" {
				f.Detail = f.Field + ": " + f.Detail
			}
			faults = append(faults, f.Detail)
		}
		detail = strings.Join(faults, "; ")
	}
	return fmt.Sprintf("%s (%d %s): %s", p.Title, p.Status, p.Kind(), strings.TrimRight(detail, "."))
}

// maxFaults is how many fields are named in an error.
const maxFaults = 20

// problem reads a refusal; what is none is ErrAnswer.
func (c *Client) problem(resp *http.Response, body []byte) error {
	var p Problem
	if err := json.Unmarshal(body, &p); err != nil {
		return c.nonsense(resp, err)
	}
	p.Status = resp.StatusCode // a body that says otherwise is not believed
	if len(p.Errors) > maxFaults {
		more := len(p.Errors) - maxFaults
		p.Errors = append(p.Errors[:maxFaults:maxFaults], Fault{Detail: fmt.Sprintf("and %d more", more)})
	}
	texts := []*string{&p.Type, &p.Title, &p.Detail}
	for i := range p.Errors {
		texts = append(texts, &p.Errors[i].Field, &p.Errors[i].Detail)
	}
	for _, t := range texts {
		*t = c.redact(*t)
	}
	if p.document, _ = json.Marshal(&p); p.document == nil {
		p.document = []byte("{}") // text that is no UTF-8
	}
	for _, t := range texts {
		*t = Printable(*t)
	}
	return &p
}
