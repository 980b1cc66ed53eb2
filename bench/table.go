package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// table is what one part of the run prints: rows, whether the goals are met,
// and notes that say what the figures mean.
type table struct {
	title  string
	header []string
	rows   [][]string
	goals  []string
	notes  []string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// goal says what was wanted and whether it was reached. Nothing fails when it
// was not: the machine may be busy.
func (t *table) goal(met bool, format string, args ...any) {
	word := "met: "
	if !met {
		word = "MISSED: "
	}
	t.goals = append(t.goals, word+fmt.Sprintf(format, args...))
}

func (t *table) print(w io.Writer, markdown bool) {
	width := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string, open, between, end string) {
		cells := make([]string, len(row))
		for i, cell := range row {
			space := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				cells[i] = cell + space
			} else {
				cells[i] = space + cell
			}
		}
		fmt.Fprintln(w, open+strings.Join(cells, between)+end)
	}
	open, between, end, bullet := "", "  ", "", "  "
	if markdown {
		open, between, end, bullet = "| ", " | ", " |", "- "
		fmt.Fprint(w, "### ")
	}
	fmt.Fprint(w, t.title, "\n\n")
	line(t.header, open, between, end)
	rule := make([]string, len(t.header))
	for i := range rule {
		rule[i] = strings.Repeat("-", width[i])
		if markdown && i > 0 {
			rule[i] = rule[i][:width[i]-1] + ":"
		}
	}
	line(rule, open, between, end)
	for _, row := range t.rows {
		line(row, open, between, end)
	}
	fmt.Fprintln(w)
	for _, text := range append(append([]string{}, t.goals...), t.notes...) {
		fmt.Fprintln(w, bullet+text)
	}
	fmt.Fprintln(w)
}

// micros writes a duration in microseconds with three digits that count.
func micros(d time.Duration) string {
	us := float64(d.Nanoseconds()) / 1e3
	switch {
	case us >= 100:
		return fmt.Sprintf("%.0f µs", us)
	case us >= 10:
		return fmt.Sprintf("%.1f µs", us)
	}
	return fmt.Sprintf("%.2f µs", us)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1e3) }

// perSecond writes a rate with a separator between thousands.
func perSecond(rate float64) string {
	n := int64(rate + 0.5)
	if n < 1000 {
		return fmt.Sprintf("%d/s", n)
	}
	return fmt.Sprintf("%d,%03d/s", n/1000, n%1000)
}

func times(x float64) string { return fmt.Sprintf("%.2f×", x) }
