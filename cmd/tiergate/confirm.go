package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// mayWiden asks before what runs by itself is widened; nil means yes. show says
// what would change. Without --yes and without a terminal nobody can be asked,
// and nothing is assumed: that is wrong usage.
func (o *operator) mayWiden(ctx context.Context, show func(w io.Writer), question string) error {
	if o.yes {
		return nil
	}
	show(o.err)
	if !isCharacterDevice(o.in) {
		return usageError{errors.New("this lets something run that would not, and nobody can be asked, because stdin is no terminal. Nothing was sent; give --yes if it is meant")}
	}
	fmt.Fprintf(o.err, "%s [y/N] ", question)
	answer, err := readLine(ctx, o.in)
	if err != nil {
		fmt.Fprintln(o.err)
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed, so nothing was sent")
}

// readLine reads the answer to a question. An interrupt ends the wait; the
// reading goroutine ends with the process.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, 1<<10)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil // no answer is no yes
		}
		done <- read{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.New("interrupted, so nothing was sent")
	case r := <-done:
		return r.line, r.err
	}
}

// unchanged checks, after a question, that the configuration is still the one
// that was shown. Only the tier's change can be made under that condition by the
// gate itself; for the others this leaves a moment instead of the minutes that a
// person may take.
func (o *operator) unchanged(ctx context.Context, epoch int64) error {
	if o.yes {
		return nil // nothing was shown
	}
	now, err := o.api.Config(ctx)
	if err != nil {
		return err
	}
	if now.Value.Epoch != epoch {
		return errors.New("the configuration has changed since it was shown to you, so nothing was sent; look again and repeat the command")
	}
	return nil
}
