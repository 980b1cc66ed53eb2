package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/store"
)

func migrateCommand() *cobra.Command {
	var url string
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Create or upgrade the PostgreSQL tables and the roles tiergate_writer and tiergate_auditor",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				url = os.Getenv("TIERGATE_DATABASE_URL")
			}
			if url == "" {
				return usageError{errors.New("give --database-url postgres://OWNER@HOST/DATABASE")}
			}
			if err := store.Migrate(cmd.Context(), url); err != nil {
				return storeError(err)
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "the tables are up to date; let the gate's own role be a member of tiergate_writer: GRANT tiergate_writer TO <role>")
			return nil
		},
	}
	c.Flags().StringVar(&url, "database-url", "", "URL of the owner of the tables (TIERGATE_DATABASE_URL)")
	return c
}
