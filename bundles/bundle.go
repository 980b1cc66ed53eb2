// Package bundles handles policy as bytes: it loads a folder or archive of Rego
// and tables, names it by its content, packs it reproducibly, signs it and
// verifies who signed it.
//
// What comes from outside is judged in three steps, each before the next one
// sees it: how it is packed ([ErrInvalid]), who signed it ([ErrSignature]), what
// it says ([ErrInvalid]).
//
// A bundle is known by its hash, which depends on what the policy says and not
// on how it is packed. A folder, the archive that [Bundle.WriteArchive] makes of
// it and the one that a stock `opa build -b` makes have the same hash. It is the
// SHA-256 over these lines, sorted, each ended by a line feed:
//
//	<sha256 hex of the module as formatted by OPA> data.gate.targets
//	…one for each module that is no test
//
// followed by the line `data <RFC 8785 form of the merged data>`, the line
// `revision <JSON string>` and the line `roots <JSON array, sorted>`.
//
// Modules whose package name ends in "_test" are tests: they are not part of
// the bundle, neither of its hash nor of what [Load] returns.
package bundles

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// semanticVersion is the grammar of semver.org, version 2.0.0.
var semanticVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)

// ErrInvalid: what was given is no bundle that the gate takes.
var ErrInvalid = errors.New("invalid bundle")

// Bundle is a loaded policy. It is immutable.
type Bundle struct {
	Revision string                 // semantic version from the manifest
	Hash     string                 // "sha256:<64 hex digits>"
	Roots    []string               // what of data the bundle owns, sorted
	Modules  map[string]*ast.Module // parsed with annotations, by path in the bundle
	Data     map[string]any         // the merged tables

	formatted map[string][]byte // by path in the bundle
	data      []byte            // RFC 8785
}

// parse makes a bundle of files that were read and, if asked for, verified.
func parse(files []file) (b *Bundle, err error) {
	defer func() {
		// Parser and formatter of OPA are large, and bundles come over the network.
		if r := recover(); r != nil {
			b, err = nil, fmt.Errorf("%w: reading it panicked: %v", ErrInvalid, r)
		}
	}()
	files = slices.DeleteFunc(slices.Clone(files), func(f file) bool { return f.path == "/"+signaturesFile })
	for _, f := range files {
		if err := checkJSON(f); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	raw, err := bundle.NewCustomReader(&memoryLoader{files: files}).
		WithProcessAnnotations(true).
		WithSkipBundleVerification(true).
		WithSizeLimitBytes(MaxFileBytes).
		WithRegoVersion(ast.RegoV1).
		Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if raw.Type() != bundle.SnapshotBundleType || len(raw.WasmModules) > 0 || len(raw.PlanModules) > 0 {
		return nil, fmt.Errorf("%w: want a snapshot of Rego and data, without patches, wasm or plans", ErrInvalid)
	}
	if raw.Manifest.Revision == "" {
		return nil, fmt.Errorf("%w: no revision, such as 1.0.0, in a .manifest at its top: is this the folder that holds .manifest?", ErrInvalid)
	}
	if !semanticVersion.MatchString(raw.Manifest.Revision) {
		return nil, fmt.Errorf("%w: revision %q in .manifest is no semantic version, such as 1.0.0", ErrInvalid, raw.Manifest.Revision)
	}
	b = &Bundle{
		Revision:  raw.Manifest.Revision,
		Modules:   make(map[string]*ast.Module),
		Data:      raw.Data,
		formatted: make(map[string][]byte),
	}
	if raw.Manifest.Roots != nil {
		b.Roots = slices.Clone(*raw.Manifest.Roots)
		slices.Sort(b.Roots)
	}
	for _, m := range raw.Modules {
		if isTest(m.Parsed) {
			continue
		}
		path := "/" + strings.TrimPrefix(m.Path, "/")
		text, err := formatModule(path, m)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		b.Modules[path] = m.Parsed
		b.formatted[path] = text
	}
	if len(b.Modules) == 0 {
		return nil, fmt.Errorf("%w: it holds no Rego module", ErrInvalid)
	}
	if b.data, err = canonical(b.Data); err != nil {
		return nil, fmt.Errorf("%w: data: %w", ErrInvalid, err)
	}
	if b.Hash, err = b.hash(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return b, nil
}

// isTest tells by package and not by file name, because the hash must not
// depend on file names. By Rego's convention the last name ends in "_test".
func isTest(m *ast.Module) bool {
	return strings.HasSuffix(packagePath(m), "_test")
}

func packagePath(m *ast.Module) string { return m.Package.Path.String() }

func (b *Bundle) hash() (string, error) {
	lines := make([]string, 0, len(b.Modules))
	for path, m := range b.Modules {
		sum := sha256.Sum256(b.formatted[path])
		lines = append(lines, hex.EncodeToString(sum[:])+" "+packagePath(m)+"\n")
	}
	slices.Sort(lines)
	revision, err := canonical(b.Revision)
	if err != nil {
		return "", fmt.Errorf("revision: %w", err)
	}
	roots, err := canonical(b.Roots)
	if err != nil {
		return "", fmt.Errorf("roots: %w", err)
	}
	h := sha256.New()
	for _, line := range lines {
		h.Write([]byte(line))
	}
	fmt.Fprintf(h, "data %s\nrevision %s\nroots %s\n", b.data, revision, roots)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// canonical is the RFC 8785 form of v.
func canonical(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	out := jsontext.Value(bytes.TrimSpace(buf.Bytes()))
	if err := out.Canonicalize(); err != nil {
		return nil, err
	}
	return out, nil
}
