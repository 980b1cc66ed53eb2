package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// progress is a bar on a terminal, and nothing anywhere else. Its methods may
// be called by many goroutines, and on nil.
type progress struct {
	w     io.Writer
	label string
	total int64
	start time.Time
	done  atomic.Int64
	stop  chan struct{}
	wg    sync.WaitGroup
	once  sync.Once
}

// progressDelay keeps short work from flickering.
const progressDelay = 500 * time.Millisecond

// newProgress shows how much of total is done, or only how much is done where
// total is 0, until Done is called. It returns nil where w is no terminal.
func newProgress(w io.Writer, label string, total int64) *progress {
	if !isTerminal(w) {
		return nil
	}
	p := &progress{w: w, label: label, total: total, start: time.Now(), stop: make(chan struct{})}
	p.wg.Go(p.run)
	return p
}

// Add counts n more as done.
func (p *progress) Add(n int64) {
	if p != nil {
		p.done.Add(n)
	}
}

// Set says that n are done.
func (p *progress) Set(n int64) {
	if p != nil {
		p.done.Store(n)
	}
}

// Done takes the bar away.
func (p *progress) Done() {
	if p == nil {
		return
	}
	p.once.Do(func() { close(p.stop) })
	p.wg.Wait()
}

func (p *progress) run() {
	select {
	case <-p.stop:
		return
	case <-time.After(progressDelay):
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprint(p.w, "\r", p.line(time.Since(p.start)), "\x1b[K")
		select {
		case <-p.stop:
			fmt.Fprint(p.w, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}

// line is the bar after that time.
func (p *progress) line(after time.Duration) string {
	done := p.done.Load()
	if p.total <= 0 {
		return fmt.Sprintf("%s %d %s", p.label, done, after.Round(time.Second))
	}
	const width = 30
	part := min(1, float64(done)/float64(p.total))
	full := int(part * width)
	left := ""
	if part > 0.01 && part < 1 {
		left = " " + (time.Duration(float64(after)/part) - after).Round(time.Second).String() + " left"
	}
	return fmt.Sprintf("%s [%s%s] %3.0f%%%s", p.label, strings.Repeat("=", full), strings.Repeat(" ", width-full), 100*part, left)
}

// isTerminal reports whether somebody looks at w: a character device that is not
// /dev/null, and no dumb terminal.
func isTerminal(w io.Writer) bool { return os.Getenv("TERM") != "dumb" && isCharacterDevice(w) }

// isCharacterDevice reports whether somebody may be at the other end of a file:
// it is a character device, and not /dev/null.
func isCharacterDevice(file any) bool {
	f, ok := file.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// wantsColour reports whether w may be coloured; see no-color.org.
func wantsColour(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }
