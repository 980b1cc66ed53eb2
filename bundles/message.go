package bundles

import "strings"

// What a message may take, in bytes: OPA quotes the whole line at fault, and
// names in an archive are as long as their author liked.
const (
	maxMessage     = 4096
	maxMessageLine = 300
)

// bounded is err with a message that fits on a screen.
func bounded(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if len(line) > maxMessageLine {
			lines[i] = strings.ToValidUTF8(line[:maxMessageLine], "") + "…"
		}
	}
	short := strings.Join(lines, "\n")
	if len(short) > maxMessage {
		short = strings.ToValidUTF8(short[:maxMessage], "") + "…"
	}
	if short == text {
		return err
	}
	return boundedError{short, err}
}

type boundedError struct {
	text string
	err  error
}

func (e boundedError) Error() string { return e.text }
func (e boundedError) Unwrap() error { return e.err }
