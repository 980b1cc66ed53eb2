package main

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// No bar where nobody looks, and counting on none is fine.
func TestProgressOnNoTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []interface{ Write([]byte) (int, error) }{&bytes.Buffer{}, null, file} {
		p := newProgress(w, "test", 3)
		if p != nil {
			t.Errorf("a bar on %T", w)
		}
		p.Add(1)
		p.Done()
	}
}

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		total, done int64
		after       time.Duration
		want        string
	}{
		{100, 0, time.Second, "test [                              ]   0%"},
		{100, 50, 10 * time.Second, "test [===============               ]  50% 10s left"},
		{100, 100, time.Second, "test [==============================] 100%"},
		{100, 120, time.Second, "test [==============================] 100%"},
		{0, 7, 2 * time.Second, "test 7 2s"},
	} {
		p := &progress{label: "test", total: c.total}
		p.Add(c.done)
		if got := p.line(c.after); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
