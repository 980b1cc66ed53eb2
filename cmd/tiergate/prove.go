package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/review"
)

// errBroken is exit 1 of prove; what is broken was printed.
var errBroken = errors.New("the bundle breaks a promise")

func proveCommand() *cobra.Command {
	var format, dir, keep, output string
	var strict bool
	c := &cobra.Command{
		Use:   "prove [BUNDLE]",
		Short: "Check the promises of a bundle in every situation that it can tell apart",
		Long: `prove decides every situation that a bundle can tell apart and checks the promises of docs/promises.
Where one is broken, it shows the plainest counterexample and writes its input for ` + "`tiergate eval`" + `.

Exit 1: a promise is broken, or, with --strict, the bundle reads what the situations do not vary.

` + sourceHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" && format != "markdown" {
				return usageError{fmt.Errorf("--format %s: want text, json or markdown", format)}
			}
			proof, err := prove(cmd, first(args), keep)
			if err != nil {
				return err
			}
			if output != "" {
				if err := writeFile(output, proof.JSON); err != nil {
					return err
				}
			}
			files, err := writeCounterexamples(proof, dir)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			switch format {
			case "json":
				err = proof.JSON(w)
			case "markdown":
				err = proof.Markdown(w)
			default:
				err = proof.Text(w, painter(w), orBuiltInFlag(first(args)), files)
			}
			switch {
			case err != nil:
				return err
			case !proof.Holds:
				return errBroken
			case strict && len(proof.NotCovered) > 0:
				return errors.New("the bundle reads what the situations do not vary (--strict)")
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, json or markdown")
	c.Flags().StringVar(&dir, "counterexamples", ".", "folder for the inputs of counterexamples")
	c.Flags().StringVarP(&output, "output", "o", "", "also write the proof as JSON to this file")
	c.Flags().StringVar(&keep, "keep", "", "file that keeps the proof: one that is there, of the same bundle and engine, is not made again")
	c.Flags().BoolVar(&strict, "strict", false, "fail where the bundle reads what the situations do not vary")
	return c
}

func prove(cmd *cobra.Command, name, keep string) (*review.Proof, error) {
	s, _, err := loadSubject(cmd.Context(), name)
	if err != nil {
		return nil, err
	}
	if keep != "" {
		if kept, err := keptProof(keep, s.ID.BundleHash); err != nil {
			return nil, usageError{fmt.Errorf("--keep: %w", err)}
		} else if kept != nil {
			return kept, nil
		}
	}
	bar := &stages{w: cmd.ErrOrStderr()}
	defer bar.Done()
	proof, err := review.Prove(cmd.Context(), s, review.ProveOptions{EngineVersion: engineVersion(), Progress: bar.Show})
	if err == nil && keep != "" {
		err = writeFile(keep, proof.JSON)
	}
	return proof, reviewError(err)
}

// reviewError makes what is wrong with a bundle a usage error.
func reviewError(err error) error {
	if errors.Is(err, review.ErrTooLarge) {
		return usageError{err}
	}
	return err
}

// writeCounterexamples writes the inputs of broken promises and returns their
// files by promise.
func writeCounterexamples(p *review.Proof, dir string) (map[string][]string, error) {
	files := map[string][]string{}
	for _, c := range p.Promises {
		if c.Holds {
			continue
		}
		for i, in := range c.Counterexample.Inputs {
			name := "counterexample-" + c.Name + ".json"
			if i > 0 {
				name = fmt.Sprintf("counterexample-%s-%d.json", c.Name, i+1)
			}
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
			if err := writeFile(path, func(w io.Writer) error { _, err := fmt.Fprintf(w, "%s\n", in); return err }); err != nil {
				return nil, err
			}
			files[c.Name] = append(files[c.Name], path)
		}
	}
	return files, nil
}

// orBuiltInFlag is what follows --bundle for the same bundle.
func orBuiltInFlag(name string) string {
	if name == "" {
		return `""`
	}
	return name
}
