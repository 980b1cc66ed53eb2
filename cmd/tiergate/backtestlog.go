package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/review"
)

// logSource is where the rows of a backtest come from.
type logSource interface {
	size() int64 // for the progress bar; 0 if it is not known
	pages(bar *progress) review.LogPages
	close() error
}

// logPage is how many rows are read at a time, and logPageBytes how many bytes
// of a file.
const (
	logPage      = 1000
	logPageBytes = 4 << 20
)

// maxLineBytes bounds one gate-log entry in a file.
const maxLineBytes = 16 << 20

// logFilter selects among the entries of a file.
type logFilter struct {
	tenants  []string
	from, to time.Time
}

// logFile reads gate-log entries, one a line.
type logFile struct {
	closer io.Closer
	lines  *bufio.Reader
	bytes  int64
	number int
	filter logFilter
}

func openLogFile(path string, stdin io.Reader, filter logFilter) (*logFile, error) {
	if path == "-" {
		return &logFile{lines: bufio.NewReaderSize(stdin, 1<<20), filter: filter}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("--log: %w", err)}
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("it is a folder")
	}
	if err != nil {
		f.Close()
		return nil, usageError{fmt.Errorf("--log %s: %w", path, err)}
	}
	return &logFile{closer: f, lines: bufio.NewReaderSize(f, 1<<20), bytes: info.Size(), filter: filter}, nil
}

func (l *logFile) size() int64 { return l.bytes }

func (l *logFile) close() error {
	if l.closer == nil {
		return nil
	}
	return l.closer.Close()
}

func (l *logFile) pages(bar *progress) review.LogPages {
	return func(ctx context.Context) ([]engine.LoggedDecision, error) {
		page := make([]engine.LoggedDecision, 0, logPage)
		size := 0
		for len(page) < logPage && size < logPageBytes && ctx.Err() == nil {
			line, tooLong, err := l.line(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("--log, line %d: %w", l.number, err)
			}
			bar.Add(int64(len(line)))
			size += len(line)
			if row, ok := l.row(line, tooLong); ok {
				page = append(page, row)
			}
		}
		return page, ctx.Err()
	}
}

// noLogBytes is how long a line may be and the file still a log.
const noLogBytes = 1 << 30

// line reads the next line; of one that is too long, nothing is kept.
func (l *logFile) line(ctx context.Context) (line []byte, tooLong bool, err error) {
	for n := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		part, err := l.lines.ReadSlice('\n')
		if len(part) == 0 && err != nil && line == nil && !tooLong {
			return nil, false, err
		}
		if n += len(part); n > noLogBytes {
			return nil, false, fmt.Errorf("line %d is longer than %d MiB: this is no log of one entry a line", l.number+1, noLogBytes>>20)
		}
		if tooLong = tooLong || len(line)+len(part) > maxLineBytes; tooLong {
			line = nil
		} else {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
		l.number++
		return line, tooLong, nil
	}
}

// loggedEntry is what a backtest needs of an entry of GET /gate-log?input=true.
type loggedEntry struct {
	DecisionID       string         `json:"decision_id"`
	TenantID         string         `json:"tenant_id"`
	Decision         string         `json:"decision"`
	Rule             string         `json:"rule"`
	Rationale        string         `json:"rationale"`
	BlastRadius      string         `json:"blast_radius"`
	MaturityTier     int            `json:"maturity_tier"`
	OverridesApplied jsontext.Value `json:"overrides_applied"`
	Policy           struct {
		BundleHash string `json:"bundle_hash"`
	} `json:"policy"`
	LogSeq           int64          `json:"log_seq"`
	DecidedAt        string         `json:"decided_at"`
	ActionType       string         `json:"action_type"`
	ParametersDigest string         `json:"parameters_digest"`
	EngineVersion    string         `json:"engine_version"`
	Input            jsontext.Value `json:"input"`
	Entries          jsontext.Value `json:"entries"` // a whole page by mistake
}

// row reads an entry; ok is false for one that is not wanted.
func (l *logFile) row(line []byte, tooLong bool) (row engine.LoggedDecision, ok bool) {
	row.Place = fmt.Sprintf("line %d", l.number)
	if tooLong {
		row.Fault = fmt.Errorf("it is longer than %d MiB", maxLineBytes>>20)
		return row, true
	}
	if isBlank(line) {
		return row, false
	}
	var e loggedEntry
	if err := json.Unmarshal(line, &e); err != nil {
		row.Fault = err
		return row, true
	}
	if e.Entries != nil {
		row.Fault = errors.New("it is a page of entries; give one entry a line: jq -c '.entries[]'")
		return row, true
	}
	if e.Decision == "" || e.ActionType == "" || e.Policy.BundleHash == "" {
		row.Fault = errors.New("it is no gate-log entry: decision, action_type or policy.bundle_hash is missing")
		return row, true
	}
	if len(l.filter.tenants) > 0 && !slices.Contains(l.filter.tenants, e.TenantID) {
		return row, false
	}
	if !l.filter.from.IsZero() || !l.filter.to.IsZero() {
		at, err := engine.ParseTime(e.DecidedAt)
		if err != nil {
			row.Fault = fmt.Errorf("decided_at: %w", err)
			return row, true
		}
		if at.Before(l.filter.from) || !l.filter.to.IsZero() && !at.Before(l.filter.to) {
			return row, false
		}
	}
	if string(e.Input) == "null" {
		e.Input = nil
	}
	return engine.LoggedDecision{
		Place: row.Place, TenantID: e.TenantID, LogSeq: e.LogSeq, DecisionID: e.DecisionID, ActionType: e.ActionType,
		Decision: e.Decision, Rule: e.Rule, Rationale: e.Rationale, BlastRadius: e.BlastRadius, MaturityTier: e.MaturityTier,
		OverridesApplied: string(e.OverridesApplied), BundleHash: e.Policy.BundleHash, EngineVersion: e.EngineVersion,
		Input: e.Input, ParametersDigest: e.ParametersDigest,
	}, true
}

func isBlank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
