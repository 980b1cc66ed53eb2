package bundles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/go-json-experiment/json/jsontext"
)

// checkJSON wants the JSON files of a bundle to mean one thing: one value, no
// duplicate names. Two readers could see two values otherwise, one of them
// signed and the other one decided by.
func checkJSON(f file) error {
	if base := path.Base(f.path); base != "data.json" && base != ".manifest" {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(f.content))
	_, err := dec.ReadValue()
	if err == nil {
		if _, err = dec.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("there is more after the first value")
		}
	}
	offset := dec.InputOffset()
	if bad, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset = bad.ByteOffset
	}
	line := 1 + bytes.Count(f.content[:min(offset, int64(len(f.content)))], []byte("\n"))
	return fmt.Errorf("%s:%d: %w", f.path, line, err)
}
