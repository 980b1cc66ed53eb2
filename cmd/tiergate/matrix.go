package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/review"
)

func matrixCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "matrix [BUNDLE]",
		Short: "Print the decision table of a bundle: every action type at every tier",
		Long: `matrix shows what a bundle decides for every action type at every tier, and what a whitelist entry, an
override or a stop changes.

` + sourceHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := loadSubject(cmd.Context(), first(args))
			if err != nil {
				return err
			}
			m, err := review.Matrix(cmd.Context(), s)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			switch format {
			case "text":
				return m.Text(w, painter(w))
			case "markdown":
				return m.Markdown(w)
			case "csv":
				return m.CSV(w)
			case "html":
				return m.HTML(w)
			case "json":
				return m.JSON(w)
			}
			return usageError{fmt.Errorf("--format %s: want text, markdown, csv, html or json", format)}
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, markdown, csv, html or json")
	return c
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
