package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

// Version is the version of the file's format.
const Version = 1

const formatName = "tiergate evidence"

// Manifest says what is in a file. It is the member manifest.json.
type Manifest struct {
	Format  string `json:"format"` // "tiergate evidence"
	Version int    `json:"version"`
	// Generator made the file; the statement can be made again by the same only.
	Generator string  `json:"generator"`
	Tenant    string  `json:"tenant"`
	From      *string `json:"from"` // decided_at of the rows, from <= decided_at < to; null: unbounded
	To        *string `json:"to"`
	// FirstLeaf and EndLeaf are which leaves have their rows in the file: those
	// from first_leaf to before end_leaf. They reach one decision beyond the
	// window on both sides, so that it can be seen that none is left out.
	FirstLeaf int64    `json:"first_leaf"`
	EndLeaf   int64    `json:"end_leaf"`
	TreeSize  int64    `json:"tree_size"`
	TreeRoot  string   `json:"tree_root"` // base64
	Members   []Member `json:"members"`   // in the order in which they are in the file
}

// Member is a file in the file.
type Member struct {
	Name         string `json:"name"`
	Bytes        int64  `json:"bytes"`
	SHA256       string `json:"sha256"`
	PackedBytes  int64  `json:"packed_bytes"`
	PackedSHA256 string `json:"packed_sha256"` // of the bytes as they are in the zip, so that none of them is outside of what is checked
}

// The members.
const (
	leavesName    = "leaves.jsonl"
	statementName = "statement.html"
	keysName      = "keys.txt"
	manifestName  = "manifest.json"
	sumName       = "manifest.sha256"
	bundleFolder  = "bundles/"
	checkFolder   = "checkpoints/"
)

// memberName is what a member may be called: nothing with which a program that
// unpacks the file could be led elsewhere.
var memberName = regexp.MustCompile(`^(leaves\.jsonl|statement\.html|keys\.txt|bundles/[0-9a-f]{64}\.tar\.gz|checkpoints/[a-z0-9][a-z0-9._-]{0,80}\.txt)$`)

// What a reader takes of each, but for leaves.jsonl and the statement, which it
// does not hold in memory.
const (
	maxManifest   = 16 << 20
	maxBundle     = 64 << 20
	maxCheckpoint = 16 << 10
	maxKeys       = 1 << 20
)

func (m *Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(m)
	return b.Bytes(), err
}

// parseManifest reads just what encode writes.
func parseManifest(b []byte) (*Manifest, error) {
	var kind struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if kind.Format != formatName || kind.Version != Version {
		return nil, fmt.Errorf("manifest.json: this is %.40q, version %d; this program reads %q, version %d", kind.Format, kind.Version, formatName, Version)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	again, err := m.encode()
	if err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("manifest.json: it has members that version 1 does not have, or is not spelled as it is written")
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	return &m, nil
}

func (m *Manifest) check() error {
	if m.Tenant == "" {
		return errors.New("no tenant")
	}
	for _, t := range []*string{m.From, m.To} {
		if t != nil {
			if at, err := time.Parse(timeLayout, *t); err != nil || at.Format(timeLayout) != *t {
				return fmt.Errorf("%.40q is no time such as 2026-11-23T08:00:00.000Z", *t)
			}
		}
	}
	if m.From != nil && m.To != nil && *m.From >= *m.To {
		return errors.New("from is not before to")
	}
	if m.FirstLeaf < 0 || m.FirstLeaf > m.EndLeaf || m.EndLeaf > m.TreeSize {
		return errors.New("first_leaf, end_leaf and tree_size do not go together")
	}
	if _, err := tlog.ParseHash(m.TreeRoot); err != nil {
		return errors.New("tree_root: want 32 bytes in base64")
	}
	seen := map[string]bool{}
	for _, e := range m.Members {
		if !memberName.MatchString(e.Name) || seen[e.Name] {
			return fmt.Errorf("member %.100q is none of ours, or is there twice", e.Name)
		}
		seen[e.Name] = true
		most := int64(1) << 50
		switch {
		case e.Name == keysName:
			most = maxKeys
		case isIn(e.Name, bundleFolder):
			most = maxBundle
		case isIn(e.Name, checkFolder):
			most = maxCheckpoint
		}
		if e.Bytes < 0 || e.Bytes > most || e.PackedBytes < 0 || !audit.IsDigest("sha256:"+e.SHA256) || !audit.IsDigest("sha256:"+e.PackedSHA256) {
			return fmt.Errorf("member %s: size or digest cannot be", e.Name)
		}
	}
	if !seen[leavesName] {
		return errors.New("leaves.jsonl is missing")
	}
	return nil
}

func isIn(name, folder string) bool { return len(name) > len(folder) && name[:len(folder)] == folder }

// timeLayout is how times are written, as in rows.
const timeLayout = "2006-01-02T15:04:05.000Z"
