package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

// maxParameters bounds a file of parameters; the gate takes 16 KiB.
const maxParameters = 64 << 10

type askFlags struct {
	connectionFlags
	confidence, parameters string
	preview                bool
	question               client.Question
}

func askCommand() *cobra.Command {
	var f askFlags
	c := &cobra.Command{Use: "ask <action_type> <target>", Short: "Ask a gate whether an action may run by itself",
		Args: cobra.ExactArgs(2), ValidArgsFunction: f.complete(completeActionType),
		Long: `ask gets a decision as an agent would, and its row is in the gate log. With --preview nothing is written.

Without --action-id, ask makes one, and names it where no answer came: asking again with it is safe, and gets the
same decision and no second row.

Exit 0: auto. Exit 1: anything else, also where no decision was given. Exit 2: wrong usage or a question that the
gate does not take.`}
	f.register(c)
	flags := c.Flags()
	flags.StringVar(&f.question.ActionID, "action-id", "", "UUID of the action; asking again with the same is one question")
	flags.StringVar(&f.question.Actor, "actor", "", "who acts: system (default) or user:NAME")
	flags.StringVar(&f.confidence, "confidence", "", "how sure the agent is, 0 to 1")
	flags.StringVar(&f.question.IncidentID, "incident-id", "", "the incident that the action belongs to")
	flags.StringVar(&f.parameters, "parameters", "", "JSON object with the action's parameters, or @FILE")
	flags.BoolVar(&f.preview, "preview", false, "ask what would be decided; no row is written")
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		f.question.ActionType, f.question.Target = args[0], args[1]
		if err := f.read(); err != nil {
			return usageError{err}
		}
		return o.ask(ctx, f.question, f.preview)
	})
	return c
}

// read reads the flags that are no plain text.
func (f *askFlags) read() error {
	if f.confidence != "" {
		n, err := parseConfidence("--confidence", f.confidence)
		if err != nil {
			return err
		}
		f.question.Confidence = &n
	}
	if f.parameters == "" {
		return nil
	}
	raw := []byte(f.parameters)
	if path, ok := strings.CutPrefix(f.parameters, "@"); ok {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("--parameters: %w", err)
		}
		defer file.Close()
		if raw, err = io.ReadAll(io.LimitReader(file, maxParameters+1)); err != nil {
			return fmt.Errorf("--parameters: %w", err)
		}
	}
	if len(raw) > maxParameters {
		return fmt.Errorf("--parameters: more than %d KiB", maxParameters>>10)
	}
	f.question.Parameters = jsontext.Value(raw)
	if f.question.Parameters.Kind() != '{' || !f.question.Parameters.IsValid() {
		return errors.New("--parameters: want one JSON object, or @FILE with one")
	}
	return nil
}

func (o *operator) ask(ctx context.Context, q client.Question, preview bool) error {
	var a client.Answer[client.Decision]
	var err error
	if preview {
		a, err = o.api.Preview(ctx, client.WhatIf{Question: q})
	} else {
		if q.ActionID == "" {
			q.ActionID = uuid.NewString()
		}
		a, err = o.api.Decide(ctx, q)
		if mayHaveBeenDecided(err) {
			err = fmt.Errorf("%w. To ask again about the same action: --action-id %s", err, q.ActionID)
		}
	}
	err = tell(o, a, err, func(d client.Decision) error { printDecision(o.out, d); return nil })
	if err == nil && a.Value.Decision != client.Auto {
		err = fmt.Errorf("%s may not run by itself: %s", client.Printable(q.ActionType), a.Value.Decision)
	}
	return err
}

// mayHaveBeenDecided says whether there may be a row although there is no answer.
func mayHaveBeenDecided(err error) bool {
	var away *client.Unreachable
	var problem *client.Problem
	return errors.As(err, &away) && away.Unknown || errors.As(err, &problem) && problem.Status >= 500 || errors.Is(err, client.ErrAnswer)
}

func printDecision(w io.Writer, d client.Decision) {
	row := "none, this is a preview"
	if d.LogSeq > 0 {
		row = fmt.Sprint(d.LogSeq)
	}
	facts(w, "decision", d.Decision, "rule", d.Rule, "rationale", d.Rationale, "radius", d.BlastRadius, "tier", d.TierLabel,
		"applied", strings.Join(d.OverridesApplied, ", "), "rollback", d.Rollback, "valid until", d.ValidUntil,
		"approval", d.Approval.ID, "log row", row, "decision id", d.DecisionID, "action id", d.ActionID)
}
