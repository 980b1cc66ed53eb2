package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/engine"
)

// maxDocumentBytes bounds one input document of eval.
const maxDocumentBytes = 16 << 20

func evalCommand() *cobra.Command {
	var bundle string
	var jsonl bool
	c := &cobra.Command{
		Use:   "eval [FILE|-]",
		Short: "Decide an input document offline and print the decision as JSON",
		Long: `eval decides an input document as the gate log keeps it, without a server or database.
A document whose frame is wrong is an error (exit 2), never a decision. So is one on which the bundle gives no
decision, or one that a gate would refuse.

The bundle need not be one that a gate would activate, so that what prove and diff show can be looked at.
` + sourceHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := loadSource(cmd.Context(), bundle)
			if err != nil {
				return usageError{err}
			}
			p, err := compile(cmd.Context(), b)
			if err != nil {
				return usageError{err}
			}
			in := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usageError{err}
				}
				defer f.Close()
				in = f
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			if jsonl {
				err = evalLines(cmd, p, in, out)
			} else {
				err = evalOne(cmd, p, in, out)
			}
			return errors.Join(err, out.Flush())
		},
	}
	c.Flags().StringVar(&bundle, "bundle", os.Getenv("TIERGATE_BUNDLE"), "folder, archive or git:REV[:PATH]; default: the one built in (TIERGATE_BUNDLE)")
	c.Flags().BoolVar(&jsonl, "jsonl", false, "one document a line in, one decision a line out")
	return c
}

func evalOne(cmd *cobra.Command, p *engine.Policy, in io.Reader, out io.Writer) error {
	doc, err := io.ReadAll(io.LimitReader(in, maxDocumentBytes+1))
	if err != nil {
		return usageError{fmt.Errorf("read the input document: %w", err)}
	}
	if len(doc) > maxDocumentBytes {
		return usageError{fmt.Errorf("the input document is larger than %d bytes", maxDocumentBytes)}
	}
	answer, err := evalDocument(cmd, p, doc)
	if err != nil {
		return usageError{err}
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(answer)
}

// evalLines decides one document a line. A bad line gets an error in its place,
// and the whole is an error at the end.
func evalLines(cmd *cobra.Command, p *engine.Policy, in io.Reader, out *bufio.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxDocumentBytes)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	bad := 0
	for lines.Scan() {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		var line any
		answer, err := evalDocument(cmd, p, lines.Bytes())
		if line = answer; err != nil {
			bad++
			line = map[string]string{"error": err.Error()}
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return usageError{fmt.Errorf("read the input documents: %w", err)}
	}
	if bad > 0 {
		return usageError{fmt.Errorf("%d lines had no decision", bad)}
	}
	return nil
}

// evalAnswer is the decision as eval prints it.
type evalAnswer struct {
	Decision         string     `json:"decision"`
	Rule             string     `json:"rule"`
	Rationale        string     `json:"rationale"`
	BlastRadius      string     `json:"blast_radius"`
	MaturityTier     int        `json:"maturity_tier"`
	TierLabel        string     `json:"tier_label"`
	OverridesApplied []string   `json:"overrides_applied"`
	Policy           evalPolicy `json:"policy"`
}

type evalPolicy struct {
	Revision   string `json:"revision"`
	BundleHash string `json:"bundle_hash"`
}

func evalDocument(cmd *cobra.Command, p *engine.Policy, doc []byte) (*evalAnswer, error) {
	v, err := p.DecideDocument(cmd.Context(), doc)
	if err != nil {
		return nil, err
	}
	return &evalAnswer{
		Decision: v.Decision.String(), Rule: v.Rule, Rationale: v.Rationale,
		BlastRadius: v.BlastRadius.String(), MaturityTier: v.MaturityTier, TierLabel: v.TierLabel,
		OverridesApplied: v.OverridesApplied,
		Policy:           evalPolicy{p.ID().Revision, p.ID().BundleHash},
	}, nil
}
