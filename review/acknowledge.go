package review

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Acknowledgement lists the widenings that somebody makes on purpose. It holds
// for exactly one difference: the policy it starts from, and the sentences.
// Once either changes it is stale and acknowledges nothing.
//
//	# why
//	from sha256:…
//	isolate_host at L4, not stopped: queued_approval → auto, WIDENS
type Acknowledgement struct {
	From      string // bundle hash of the old policy
	Widenings []string
}

// ReadAcknowledgement reads the file. Empty lines and those that begin with #
// say nothing.
func ReadAcknowledgement(r io.Reader) (*Acknowledgement, error) {
	a := &Acknowledgement{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		from, isFrom := strings.CutPrefix(line, "from ")
		switch {
		case line == "" || line[0] == '#':
		case isFrom && a.From == "":
			a.From = strings.TrimSpace(from)
		case isFrom:
			return nil, fmt.Errorf("line %d: a second line that begins with from", n)
		case strings.HasSuffix(line, ", "+string(Widens)):
			a.Widenings = append(a.Widenings, line)
		default:
			return nil, fmt.Errorf("line %d: want `from <bundle hash>` or a sentence that ends in %q, as `tiergate diff` prints it", n, ", "+string(Widens))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if a.From == "" {
		return nil, fmt.Errorf("the line `from <bundle hash>` is missing: it names the policy that the widenings start from")
	}
	return a, nil
}

// Acknowledge writes the file that acknowledges every widening of d.
func (d *Comparison) Acknowledge(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Widenings of autonomy that this change makes on purpose. Say here why.\nfrom %s\n", d.Old.BundleHash)
	for _, c := range d.Widenings() {
		b.WriteString(c.String() + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Unacknowledged returns the widenings that a does not list, and says why a, if
// there is one, is stale. A stale one acknowledges nothing.
func (d *Comparison) Unacknowledged(a *Acknowledgement) (open []Change, stale string) {
	open = d.Widenings()
	if a == nil {
		return open, ""
	}
	if a.From != d.Old.BundleHash {
		return open, fmt.Sprintf("it is for a change from %s, and this one is from %s", a.From, d.Old.BundleHash)
	}
	var now []string
	for _, c := range open {
		now = append(now, c.String())
	}
	for _, line := range a.Widenings {
		if !slices.Contains(now, line) {
			return open, fmt.Sprintf("it lists what is no widening of this change: %s", line)
		}
	}
	return slices.DeleteFunc(open, func(c Change) bool { return slices.Contains(a.Widenings, c.String()) }), ""
}
