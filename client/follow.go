package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	pollEvery    = time.Second
	firstRetry   = 250 * time.Millisecond
	slowestRetry = 10 * time.Second
	firstPage    = 50  // rows that are asked for at each turn
	catchUpPage  = 500 // and for each page more
)

// ErrOtherLog is wrapped where a gate came back with another log than before.
var ErrOtherLog = errors.New("this is another log than before")

// Following is how to follow the gate log.
type Following struct {
	Query  LogQuery        // without To, Limit and Cursor
	Recent int             // how many rows of before come first, 0 to 500
	Every  time.Duration   // between two turns; 0 is one second
	Row    func(Row) error // gets every row once, oldest first; an error ends it
	Lost   func(error)     // the gate does not answer and is asked again, later and later
	Back   func()          // it answers again
}

// Follow gives the rows that come into the gate log until ctx ends; then its
// error is nil. It asks again for as long as it takes where the gate is away or
// cannot answer, but not the first time, and goes on after the last row that it
// gave: none is left out and none comes twice.
func (c *Client) Follow(ctx context.Context, f Following) error {
	w := &follower{Following: f, client: c}
	every := cmp.Or(f.Every, pollEvery)
	wait, lost := every, 0
	for err := w.begin(ctx); ; err = w.catchUp(ctx) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if lost > 0 {
				f.Back()
			}
			wait, lost = every, 0
		case w.begun && passes(err):
			wait = min(slowestRetry, firstRetry<<min(lost, 10))
			wait = wait/2 + rand.N(wait/2) // not all at once after a restart
			if lost++; lost == 1 {
				f.Lost(err)
			}
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// passes says whether asking again may help.
func passes(err error) bool {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status >= 500 || p.Status == http.StatusTooManyRequests
	}
	var u *Unreachable
	return errors.As(err, &u) || errors.Is(err, ErrAnswer)
}

type follower struct {
	Following
	client *Client
	begun  bool
	last   int64 // log_seq of the newest row that was given or skipped
}

func (w *follower) page(ctx context.Context, limit int, cursor string) (Page[Row], error) {
	q := w.Query
	q.To, q.Limit, q.Cursor = "", limit, cursor
	a, err := w.client.Log(ctx, q)
	return a.Value, err
}

// begin finds where the log ends.
func (w *follower) begin(ctx context.Context) error {
	p, err := w.page(ctx, max(1, w.Recent), "")
	if err != nil {
		return err
	}
	w.begun = true
	if w.Recent > 0 {
		return w.give(p.Entries)
	}
	if len(p.Entries) > 0 {
		w.last = p.Entries[0].LogSeq
	}
	return nil
}

// give hands over the rows of a page that are new.
func (w *follower) give(newestFirst []Row) error {
	for _, row := range slices.Backward(newestFirst) {
		if row.LogSeq <= w.last {
			continue
		}
		if err := w.Row(row); err != nil {
			return err
		}
		w.last = row.LogSeq
	}
	return nil
}

// catchUp gives what came since the last time. Pages come newest first and rows
// are given oldest first, so after a long time away it goes down to the last row,
// keeping the cursors alone, and comes up again. What stands behind a cursor does
// not change; what a page without one holds does, so the first is kept.
func (w *follower) catchUp(ctx context.Context) error {
	first, err := w.page(ctx, firstPage, "")
	if err != nil {
		return err
	}
	if w.last > 0 && (len(first.Entries) == 0 || first.Entries[0].LogSeq < w.last) {
		return fmt.Errorf("%w: it ends before row %d, which was there", ErrOtherLog, w.last)
	}
	var cursors []string
	deepest, lowest := first, int64(0)
	for w.reachesBack(deepest) {
		lowest = deepest.Entries[len(deepest.Entries)-1].LogSeq
		cursors = append(cursors, *deepest.Next)
		if deepest, err = w.page(ctx, catchUpPage, *deepest.Next); err != nil {
			return err
		}
		if len(deepest.Entries) == 0 || deepest.Entries[0].LogSeq >= lowest {
			return fmt.Errorf("%w: its pages do not go on from each other", ErrAnswer)
		}
	}
	if len(cursors) > 0 {
		if err := w.give(deepest.Entries); err != nil {
			return err
		}
		for _, cursor := range slices.Backward(cursors[:len(cursors)-1]) {
			p, err := w.page(ctx, catchUpPage, cursor)
			if err != nil {
				return err
			}
			if err := w.give(p.Entries); err != nil {
				return err
			}
		}
	}
	return w.give(first.Entries)
}

// reachesBack says whether rows that were not given lie behind a page.
func (w *follower) reachesBack(p Page[Row]) bool {
	return len(p.Entries) > 0 && p.Next != nil && p.Entries[len(p.Entries)-1].LogSeq > w.last+1
}
