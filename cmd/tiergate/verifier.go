package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/bundles"
)

// maxKeyBytes bounds a key file: RSA keys of 16384 bits are 13 KiB.
const maxKeyBytes = 64 << 10

// verifierFlags name the key that bundles must be signed with, as `opa run`
// names its flags.
type verifierFlags struct {
	key, keyID, algorithm, scope string
}

// register adds the flags; their defaults come from TIERGATE_VERIFICATION_KEY, …
func (f *verifierFlags) register(c *cobra.Command) {
	flags := c.Flags()
	algorithm := os.Getenv("TIERGATE_SIGNING_ALG")
	if algorithm == "" {
		algorithm = bundles.DefaultAlgorithm
	}
	flags.StringVar(&f.key, "verification-key", os.Getenv("TIERGATE_VERIFICATION_KEY"), "file with the public key that bundles must be signed with (TIERGATE_VERIFICATION_KEY)")
	flags.StringVar(&f.keyID, "verification-key-id", os.Getenv("TIERGATE_VERIFICATION_KEY_ID"), `id that the signature must name; default: "default" or none (TIERGATE_VERIFICATION_KEY_ID)`)
	flags.StringVar(&f.algorithm, "signing-alg", algorithm, "the only algorithm that the key signs with (TIERGATE_SIGNING_ALG)")
	flags.StringVar(&f.scope, "scope", os.Getenv("TIERGATE_SCOPE"), "scope that the signature must be for (TIERGATE_SCOPE; default: none)")
}

// load reads the key; nil without an error if no key was given. An error is a
// usage error.
func (f *verifierFlags) load() (*bundles.Verifier, error) {
	if f.key == "" {
		if f.keyID != "" || f.scope != "" {
			return nil, usageError{errors.New("--verification-key-id and --scope need --verification-key")}
		}
		return nil, nil
	}
	key, err := readKey(f.key)
	if err != nil {
		return nil, usageError{fmt.Errorf("--verification-key: %w", err)}
	}
	v, err := bundles.NewVerifier(key, f.keyID, f.algorithm, f.scope)
	if err != nil {
		return nil, usageError{fmt.Errorf("--verification-key %s: %w", f.key, err)}
	}
	return v, nil
}

// readKey reads a key file. Errors name the file and never its content.
func readKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	key, err := io.ReadAll(io.LimitReader(f, maxKeyBytes+1))
	if err != nil {
		return nil, err
	}
	if len(key) > maxKeyBytes {
		return nil, fmt.Errorf("%s is larger than %d KiB, which no key is", path, maxKeyBytes>>10)
	}
	return key, nil
}
