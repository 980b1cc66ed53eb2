package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeLog is a gate log that tests put faults into: n rows, newest first, with a
// cursor that is the log_seq to go on below.
type fakeLog struct {
	mu    sync.Mutex
	n     int64
	asked int
	// before may answer in the log's place and returns whether it did; it may
	// also change the log. It is called with the number of the request, 1, 2, …
	before func(f *fakeLog, w http.ResponseWriter, r *http.Request) bool
}

func (f *fakeLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.before != nil && f.before(f, w, r) {
		return
	}
	limit, _ := strconv.ParseInt(r.FormValue("limit"), 10, 64)
	top := f.n
	if c := r.FormValue("cursor"); c != "" {
		below, _ := strconv.ParseInt(c, 10, 64)
		top = below - 1
	}
	var rows []string
	for seq := top; seq > 0 && seq > top-limit; seq-- {
		rows = append(rows, fmt.Sprintf(`{"log_seq":%d,"decision":"auto"}`, seq))
	}
	next := "null"
	if last := top - limit + 1; last > 1 {
		next = fmt.Sprintf("%q", fmt.Sprint(last))
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"entries":[%s],"next_cursor":%s}`, strings.Join(rows, ","), next)
}

func fail(status int) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprint(w, `{"type":"x/y","title":"t","detail":"d"}`)
		return true
	}
}

// followUntil follows until row `until` came, and returns all rows in order.
func followUntil(t *testing.T, f *fakeLog, recent int, until int64) (got []int64, lost, back int, err error) {
	t.Helper()
	c := fake(t, f.ServeHTTP, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = c.Follow(ctx, Following{Recent: recent, Every: 5 * time.Millisecond,
		Row: func(r Row) error {
			if got = append(got, r.LogSeq); r.LogSeq == until {
				cancel()
			}
			return nil
		},
		Lost: func(error) { lost++ }, Back: func() { back++ },
	})
	return got, lost, back, err
}

func run(from, to int64) (list []int64) {
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

// Everything that comes, once, oldest first: also when thousands of rows come
// between two turns, and more while those are read.
func TestFollowLeavesNothingOut(t *testing.T) {
	for name, c := range map[string]struct {
		recent int
		more   map[int]int64 // at that request the log has so many rows
		want   []int64
	}{
		"one by one":           {0, map[int]int64{2: 8, 3: 9}, run(8, 9)},
		"with those before":    {3, map[int]int64{2: 8}, run(5, 8)},
		"all of those before":  {100, map[int]int64{2: 8}, run(1, 8)},
		"one page":             {0, map[int]int64{2: 57}, run(8, 57)},
		"a row more than one":  {0, map[int]int64{2: 58}, run(8, 58)},
		"many pages":           {0, map[int]int64{2: 3000}, run(8, 3000)},
		"more during the walk": {0, map[int]int64{2: 3000, 3: 3700, 4: 3800, 8: 4000}, run(8, 4000)},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeLog{n: 7, before: func(f *fakeLog, _ http.ResponseWriter, _ *http.Request) bool {
				f.n = max(f.n, c.more[f.asked])
				return false
			}}
			got, _, _, err := followUntil(t, f, c.recent, c.want[len(c.want)-1])
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%d rows %v…, want %d; %v", len(got), got[:min(5, len(got))], len(c.want), err)
			}
		})
	}
}

// A log that was empty is followed from its first row.
func TestFollowFromNothing(t *testing.T) {
	f := &fakeLog{before: func(f *fakeLog, _ http.ResponseWriter, _ *http.Request) bool { f.n = int64(f.asked - 1); return false }}
	if got, _, _, err := followUntil(t, f, 0, 2); err != nil || !slices.Equal(got, run(1, 2)) {
		t.Errorf("%v %v", got, err)
	}
}

// A gate that is away, at any point, costs no row and doubles none, and is told
// once.
func TestFollowThroughFaults(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter) bool{
		"503": fail(503), "500": fail(500), "429": fail(429),
		"cut off": func(w http.ResponseWriter) bool {
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				conn.Close()
			}
			return true
		},
		"a proxy's page": func(w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		},
	} {
		f := &fakeLog{n: 7, before: func(f *fakeLog, w http.ResponseWriter, _ *http.Request) bool {
			if f.asked == 3 || f.asked == 4 || f.asked == 7 { // while it goes down, and while it comes up
				return fault(w)
			}
			switch {
			case f.asked > 12:
				f.n = 1301
			case f.asked > 1:
				f.n = 1300
			}
			return false
		}}
		t.Run(name, func(t *testing.T) {
			got, lost, back, err := followUntil(t, f, 0, 1301)
			if err != nil || !slices.Equal(got, run(8, 1301)) {
				t.Errorf("%d rows %v… %v", len(got), got[:min(5, len(got))], err)
			}
			if lost != 1 || back != 1 {
				t.Errorf("told %d times that it is away and %d that it is back", lost, back)
			}
		})
	}
}

// What does not pass ends it.
func TestFollowEnds(t *testing.T) {
	at := func(n int, fault func(http.ResponseWriter) bool) *fakeLog {
		return &fakeLog{n: 7, before: func(f *fakeLog, w http.ResponseWriter, _ *http.Request) bool { return f.asked >= n && fault(w) }}
	}
	var p *Problem
	for _, status := range []int{400, 401, 403, 404} {
		if _, _, _, err := followUntil(t, at(2, fail(status)), 0, 0); !errors.As(err, &p) || p.Status != status {
			t.Errorf("%d: %v", status, err)
		}
	}
	if _, _, _, err := followUntil(t, at(1, fail(503)), 0, 0); !errors.As(err, &p) {
		t.Errorf("at the first request: %v", err)
	}
	for _, rows := range []int64{0, 3} {
		other := &fakeLog{n: 7, before: func(f *fakeLog, _ http.ResponseWriter, _ *http.Request) bool {
			if f.asked > 1 {
				f.n = rows
			}
			return false
		}}
		if _, _, _, err := followUntil(t, other, 0, 0); !errors.Is(err, ErrOtherLog) {
			t.Errorf("a log of %d rows after one of 7: %v", rows, err)
		}
	}
	full := errors.New("the disk is full")
	c := fake(t, (&fakeLog{n: 7}).ServeHTTP, Options{})
	if err := c.Follow(t.Context(), Following{Recent: 7, Row: func(Row) error { return full }}); !errors.Is(err, full) {
		t.Errorf("%v, want the error of who gets the rows", err)
	}
}
