package engine

import "time"

// InputDocument is the input document of a request under these facts at now: the
// bytes that a gate keeps with its decision. The request's parameters are in it
// only where the policy reads them.
func (p *Policy) InputDocument(r *Request, f *Facts, now time.Time) []byte {
	text, _ := newInput(r, f, now, p.readsParameters)
	return text
}

// Document is the override as an input document has it, RFC 8785 bytes.
func (o *Override) Document() []byte { return o.fragment.json }

// Document is the entry as an input document has it, RFC 8785 bytes.
func (w *WhitelistEntry) Document() []byte { return w.fragment.json }
