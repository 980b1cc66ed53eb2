package review

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Acknowledgement lists the widenings that somebody makes on purpose. It holds
// for exactly one difference: the two policies and the sentences. Once any of
// them changes it is stale and acknowledges nothing. What the difference does not
// cover may widen, too, and is listed with the rest.
//
//	# why
//	from sha256:…
//	to sha256:…
//	isolate_host at L4, not stopped: queued_approval → auto, WIDENS
//	NOT COVERED: this policy also depends on input.request.parameters.urgent: not covered
type Acknowledgement struct {
	From, To string // bundle hashes of the old and the new policy
	Lines    []string
}

const uncovered = "NOT COVERED: "

// ReadAcknowledgement reads the file. Empty lines and those that begin with #
// say nothing.
func ReadAcknowledgement(r io.Reader) (*Acknowledgement, error) {
	a := &Acknowledgement{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		from, isFrom := strings.CutPrefix(line, "from ")
		to, isTo := strings.CutPrefix(line, "to ")
		switch {
		case line == "" || line[0] == '#':
		case isFrom && a.From == "":
			a.From = strings.TrimSpace(from)
		case isTo && a.To == "":
			a.To = strings.TrimSpace(to)
		case isFrom || isTo:
			return nil, fmt.Errorf("line %d: a second line that begins with from or to", n)
		case strings.HasSuffix(line, ", "+string(Widens)), strings.HasPrefix(line, uncovered):
			a.Lines = append(a.Lines, line)
		default:
			return nil, fmt.Errorf("line %d: want `from <bundle hash>`, `to <bundle hash>` or a line as `tiergate diff --write-acknowledgement` writes it", n)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if a.From == "" || a.To == "" {
		return nil, fmt.Errorf("the lines `from <bundle hash>` and `to <bundle hash>` are missing: they name the two policies that the widenings lie between")
	}
	return a, nil
}

// Open lists what somebody has to acknowledge: every widening, and everything
// that the difference does not cover.
func (d *Comparison) Open() (list []string) {
	for _, c := range d.Widenings() {
		list = append(list, c.String())
	}
	if d.Old.BundleHash == d.New.BundleHash {
		return list // nothing changed, covered or not
	}
	for _, note := range d.NotCovered {
		list = append(list, uncovered+note)
	}
	return list
}

// Acknowledge writes the file that acknowledges everything that is open in d.
func (d *Comparison) Acknowledge(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Widenings of autonomy that this change makes on purpose. Say here why.\nfrom %s\nto %s\n", d.Old.BundleHash, d.New.BundleHash)
	for _, line := range d.Open() {
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Unacknowledged returns the widenings that a does not list and how many lines
// are open altogether, and says why a, if there is one, is stale. A stale one
// acknowledges nothing.
func (d *Comparison) Unacknowledged(a *Acknowledgement) (open []Change, lines int, stale string) {
	open, now := d.Widenings(), d.Open()
	if a == nil {
		return open, len(now), ""
	}
	if a.From != d.Old.BundleHash || a.To != d.New.BundleHash {
		return open, len(now), fmt.Sprintf("it is for the change from %s to %s, and this one is from %s to %s", a.From, a.To, d.Old.BundleHash, d.New.BundleHash)
	}
	for _, line := range a.Lines {
		if !slices.Contains(now, line) {
			return open, len(now), fmt.Sprintf("it lists what is nothing of this change: %s", line)
		}
	}
	left := 0
	for _, line := range now {
		if !slices.Contains(a.Lines, line) {
			left++
		}
	}
	return slices.DeleteFunc(open, func(c Change) bool { return slices.Contains(a.Lines, c.String()) }), left, ""
}
