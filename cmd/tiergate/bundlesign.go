package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/bundles"
)

func bundleSignCommand() *cobra.Command {
	var keyFile, algorithm, scope, keyID, output string
	c := &cobra.Command{
		Use:   "sign --signing-key KEY.pem DIR|FILE",
		Short: "Check a bundle, pack it and sign it; stock opa verifies the signature too",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keyFile == "" {
				return usageError{errors.New("give --signing-key FILE; `tiergate bundle keygen` makes one")}
			}
			key, err := readKey(keyFile)
			if err != nil {
				return usageError{fmt.Errorf("--signing-key: %w", err)}
			}
			signer, err := bundles.NewSigner(key, keyID, algorithm, scope)
			if err != nil {
				return usageError{fmt.Errorf("--signing-key %s: %w", keyFile, err)}
			}
			b, err := bundles.Load(args[0])
			if err != nil {
				return usageError{err}
			}
			p, err := loadPolicy(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if p.ID().BundleHash != b.Hash { // only what was checked is signed
				return fmt.Errorf("%s changed while it was read; try again", args[0])
			}
			if err := writeFile(output, func(w io.Writer) error { return b.WriteSigned(w, signer) }); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b.Hash)
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s, revision %s, signed with %s%s\n", output, b.Revision, signer, forScope(scope))
			return nil
		},
	}
	c.Flags().StringVar(&keyFile, "signing-key", "", "file with the private key, or with the secret for HS256, HS384, HS512")
	c.Flags().StringVar(&algorithm, "signing-alg", bundles.DefaultAlgorithm, "ES256, ES384, ES512, RS256, …, PS256, … or HS256, …; it must fit the key")
	c.Flags().StringVar(&scope, "scope", "", "what the signature is for, such as production; who verifies must name the same")
	c.Flags().StringVar(&keyID, "key-id", bundles.DefaultKeyID, "name of the key in the signature")
	c.Flags().StringVarP(&output, "output", "o", "bundle.tar.gz", "the archive to write")
	return c
}

func forScope(scope string) string {
	if scope == "" {
		return ""
	}
	return fmt.Sprintf(" for the scope %q", scope)
}

func bundleVerifyCommand() *cobra.Command {
	var f verifierFlags
	c := &cobra.Command{
		Use:   "verify --verification-key PUBLIC.pem FILE|DIR",
		Short: "Check who signed a bundle; exit 1 if that key did not",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := f.load()
			if err != nil {
				return err
			}
			if v == nil {
				return usageError{errors.New("give --verification-key FILE")}
			}
			b, err := bundles.LoadVerified(args[0], v)
			if errors.Is(err, bundles.ErrSignature) {
				return err
			}
			if err != nil {
				return usageError{err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b.Hash)
			fmt.Fprintf(cmd.OutOrStdout(), "revision %s, signed with key %q (%s)%s\n", b.Revision, v.KeyID(), v.Algorithm(), forScope(v.Scope()))
			if p := v.Fingerprint(); p != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "the key is %s\n", p)
			}
			return nil
		},
	}
	f.register(c)
	return c
}

func bundleKeygenCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "keygen [-o DIR|PREFIX]",
		Short: "Make a key pair for signing bundles (ECDSA P-256)",
		Long: `keygen makes a key pair for ES256 and writes two files, or none if one of them is there already:
DIR/tiergate.key.pem and DIR/tiergate.pub.pem, or PREFIX.key.pem and PREFIX.pub.pem.
The private key is readable by its owner only. Keep it where bundles are signed, never beside a gate.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			prefix := output
			if info, err := os.Stat(output); err == nil && info.IsDir() || strings.HasSuffix(output, "/") {
				prefix = filepath.Join(output, "tiergate")
			}
			private, public, fingerprint, err := bundles.GenerateKey()
			if err != nil {
				return err
			}
			privateFile, publicFile := prefix+".key.pem", prefix+".pub.pem"
			if err := createNew(privateFile, private, 0o600); err != nil {
				return err
			}
			if err := createNew(publicFile, public, 0o644); err != nil {
				// A private key without its public half is of no use to anybody.
				return errors.Join(err, os.Remove(privateFile))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", fingerprint)
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s (keep it secret) and %s\n", privateFile, publicFile)
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "tiergate", "a folder, or the start of the file names")
	return c
}

// createNew writes a file that is not there yet.
func createNew(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return usageError{fmt.Errorf("%s is there already and is not overwritten; give another name with -o", path)}
	}
	if err != nil {
		return usageError{err}
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}
