package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/client"
	"github.com/tiergate/tiergate/review"
)

// table is what the API says in columns, for people. Every cell is text of a
// server until it is printed.
type table struct {
	w     io.Writer
	paint review.Painter
	width []int // of each column; the last is as wide as it wants
}

// column is a heading and how wide the column is at least.
type column struct {
	name string
	wide int
}

// newTable prints the headings. Rows that are known make the columns as wide as
// they need; rows that come later may stand out.
func newTable(w io.Writer, columns []column, known [][]string) (*table, error) {
	t := &table{w: w, paint: painter(w), width: make([]int, len(columns))}
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.name
		t.width[i] = max(c.wide, len(c.name))
		for _, row := range known {
			t.width[i] = max(t.width[i], utf8.RuneCountInString(client.Printable(row[i])))
		}
	}
	_, err := fmt.Fprintln(w, t.paint("heading", t.line(head)))
	for _, row := range known {
		err = errors.Join(err, t.row(row))
	}
	return t, err
}

func (t *table) row(cells []string) error {
	_, err := fmt.Fprintln(t.w, t.line(cells))
	return err
}

// line pads before it colours: a colour has no width.
func (t *table) line(cells []string) string {
	var b strings.Builder
	for i, cell := range cells {
		cell = client.Printable(cell)
		b.WriteString(t.paint(cell, cell))
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", max(0, t.width[i]-utf8.RuneCountInString(cell))+2))
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// list prints a table whose rows are all known.
func list(w io.Writer, rows [][]string, names ...string) error {
	columns := make([]column, len(names))
	for i, name := range names {
		columns[i].name = name
	}
	_, err := newTable(w, columns, rows)
	return err
}

// facts prints names and values below each other; values that are empty are left
// out.
func facts(w io.Writer, pairs ...string) {
	wide, paint := 0, painter(w)
	for i := 0; i < len(pairs); i += 2 {
		wide = max(wide, len(pairs[i]))
	}
	for i := 0; i < len(pairs); i += 2 {
		if value := client.Printable(pairs[i+1]); value != "" {
			fmt.Fprintf(w, "%-*s  %s\n", wide, pairs[i], paint(value, value))
		}
	}
}

// tell prints an answer of the API: as it came, for machines, or as people says.
func tell[T any](o *operator, a client.Answer[T], err error, people func(T) error) error {
	switch {
	case err != nil:
		return err
	case o.json:
		return document(o.out, a.Body)
	}
	return people(a.Value)
}

// sayf prints one line for people. Every text in it may be a server's, and is
// cleaned.
func (o *operator) sayf(format string, texts ...any) error {
	for i, t := range texts {
		if s, ok := t.(string); ok {
			texts[i] = client.Printable(s)
		}
	}
	_, err := fmt.Fprintf(o.out, format+"\n", texts...)
	return err
}

// document prints an answer of the API as it came.
func document(w io.Writer, body []byte) error {
	_, err := fmt.Fprintf(w, "%s\n", bytes.TrimSpace(client.PrintableJSON(body)))
	return err
}

// refusal prints a problem of the API for machines.
func refusal(w io.Writer, p *client.Problem) error { return document(w, p.Document()) }

// line prints one JSON value in one line, however it came.
func line(w io.Writer, value jsontext.Value) error {
	if err := value.Compact(); err != nil {
		return err
	}
	return document(w, value)
}

// orDash is a text, or a dash where there is none.
func orDash(s *string) string {
	if s == nil || *s == "" {
		return "-"
	}
	return *s
}
