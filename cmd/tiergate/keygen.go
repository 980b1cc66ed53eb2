package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/checkpoint"
)

func keygenCommand() *cobra.Command {
	var name, out string
	c := &cobra.Command{
		Use:   "keygen --name NAME -o FILE",
		Short: "Make the key that signs checkpoints and receipts",
		Long: `keygen makes an Ed25519 key for serve --signing-key. It writes the signer key, a secret, to FILE, which
only its owner may read, and prints the verifier key: give that to everybody who checks.

NAME is the deployment's, such as gate.example. It begins the first line of every checkpoint, so keep it when
you change the key: then checkpoints go on under the same name.

To change the key, put the old verifier key into the file of serve --retired-keys, and start the gate with the
new one. docs/checkpoints.md walks through it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signer, verifier, err := checkpoint.NewKey(name)
			if err != nil {
				return usageError{fmt.Errorf("--name: %w", err)}
			}
			if err := writeSecret(out, signer+"\n"); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), verifier)
			return err
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the key, such as gate.example")
	c.Flags().StringVarP(&out, "out", "o", "", "file for the signer key; must not exist")
	c.MarkFlagRequired("name")
	c.MarkFlagRequired("out")
	return c
}

// writeSecret writes a new file that only its owner may read. It is there as a
// whole and on the disk, or not at all.
func writeSecret(path, content string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("%s exists and is left as it is: a key that is overwritten is gone", path)}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
