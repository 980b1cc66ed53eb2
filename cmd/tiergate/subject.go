package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/review"
)

// sourceHelp says how a bundle under review is named.
const sourceHelp = `A bundle is a folder, an archive, or git:REV[:PATH], the folder PATH (default: policies) at a git
revision; left out, it is the one built in.`

// loadSource reads a bundle named as sourceHelp says, and returns where its
// files are, relative to the working directory, as far as they are anywhere.
func loadSource(ctx context.Context, name string) (b *bundles.Bundle, folder string, err error) {
	spec, isGit := strings.CutPrefix(name, "git:")
	if !isGit {
		b, err = loadBundle(name)
		if info, statErr := os.Stat(name); statErr == nil && info.IsDir() {
			folder = name
		}
		return b, folder, err
	}
	revision, path, found := strings.Cut(spec, ":")
	if !found {
		path = "policies"
	}
	if revision == "" {
		return nil, "", fmt.Errorf("%s names no revision: want git:REV or git:REV:PATH", name)
	}
	b, err = bundles.LoadGit(ctx, revision, path)
	return b, path, err
}

// loadSubject compiles a bundle for review. Every error is one of usage.
func loadSubject(ctx context.Context, name string) (*review.Subject, string, error) {
	b, folder, err := loadSource(ctx, name)
	if err != nil {
		return nil, "", usageError{err}
	}
	s, err := review.NewSubject(ctx, policySource(b))
	if err != nil {
		return nil, "", usageError{fmt.Errorf("compile %s: %w", orBuiltIn(name), orNoDecision(b, err))}
	}
	return s, folder, nil
}

// orNoDecision is err, in plain words where it comes from a bundle that compiles
// and has not the one rule that a gate asks for.
func orNoDecision(b *bundles.Bundle, err error) error {
	if errors.As(err, &ast.Errors{}) {
		return err
	}
	for _, m := range b.Modules {
		for _, r := range m.Rules {
			if path := r.Ref().String(); path == "data.gate.decision" || strings.HasPrefix(path, "data.gate.decision.") {
				return err
			}
		}
	}
	return errors.New("it has no rule data.gate.decision, and that is what a gate asks for: write a rule decision in package gate")
}

func policySource(b *bundles.Bundle) engine.PolicySource {
	return engine.PolicySource{ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data}
}

func orBuiltIn(name string) string {
	if name == "" {
		return "the built-in bundle"
	}
	return name
}

// painter colours what a review prints, where w may be coloured.
func painter(w io.Writer) review.Painter {
	if !wantsColour(w) {
		return review.Plain
	}
	colours := map[string]string{
		"auto": "32", "holds": "32", string(review.Narrows): "32",
		"queued_approval": "33",
		"blocked":         "31", "no decision": "35", "fails": "31", string(review.Widens): "31",
		"heading": "1",
	}
	return func(meaning, text string) string {
		c, ok := colours[meaning]
		if !ok {
			return text
		}
		return "\x1b[" + c + "m" + text + "\x1b[0m"
	}
}

// stages shows one bar after the other for work that comes in stages.
type stages struct {
	w     io.Writer
	mu    sync.Mutex
	label string
	total int
	bar   *progress
}

// Show is told how far a stage is; another stage, or one that begins again,
// begins another bar.
func (s *stages) Show(label string, done, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if label != s.label || total != s.total {
		s.bar.Done()
		s.label, s.total, s.bar = label, total, newProgress(s.w, label, int64(total))
	}
	s.bar.Set(int64(done))
}

// Done takes the bar away.
func (s *stages) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar.Done()
	s.bar = nil
}
