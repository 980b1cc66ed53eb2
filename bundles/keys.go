package bundles

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	minRSABits     = 2048
	minSecretBytes = 32 // RFC 7518: as long as the hash of HS256
)

// curves of the ECDSA algorithms of RFC 7518.
var curves = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}

// algorithmFamily tells what kind of key an algorithm needs: "ES", "RS", "PS" or "HS".
func algorithmFamily(algorithm string) (string, error) {
	switch algorithm {
	case "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256", "HS384", "HS512":
		return algorithm[:2], nil
	}
	return "", fmt.Errorf("algorithm %q is not known; want ES256, ES384, ES512, RS256, …, PS256, … or HS256, …", algorithm)
}

// parsePublicKey wants a key that fits the algorithm, so that no key is ever
// used as something else: a public PEM as an HMAC secret is the classic. It
// returns nil for a secret.
func parsePublicKey(key []byte, algorithm string) (parsed crypto.PublicKey, err error) {
	family, err := algorithmFamily(algorithm)
	if err != nil {
		return nil, err
	}
	if family == "HS" {
		return nil, checkSecret(key)
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, errors.New("no PEM block; want -----BEGIN PUBLIC KEY-----")
	}
	switch block.Type {
	case "PUBLIC KEY":
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		parsed, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			parsed = cert.PublicKey
		}
	default:
		if strings.Contains(block.Type, "PRIVATE") {
			return nil, errors.New("this is a private key; give the public one, and keep this one away from the gate")
		}
		return nil, fmt.Errorf("PEM block %q; want PUBLIC KEY", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
	}
	return parsed, checkFit(parsed, algorithm)
}

func checkSecret(key []byte) error {
	if block, _ := pem.Decode(key); block != nil || strings.Contains(string(key), "-----BEGIN") {
		return errors.New("a PEM key is no HMAC secret")
	}
	if len(key) < minSecretBytes {
		return fmt.Errorf("an HMAC secret needs at least %d bytes", minSecretBytes)
	}
	return nil
}

// checkFit wants a public key that the algorithm is for.
func checkFit(key crypto.PublicKey, algorithm string) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if curve, ok := curves[algorithm]; ok && curve == k.Curve {
			return nil
		}
		return fmt.Errorf("an ECDSA key on %s does not fit %s", k.Params().Name, algorithm)
	case *rsa.PublicKey:
		if family, _ := algorithmFamily(algorithm); family != "RS" && family != "PS" {
			return fmt.Errorf("an RSA key does not fit %s", algorithm)
		}
		if k.N.BitLen() < minRSABits {
			return fmt.Errorf("an RSA key of %d bits is too short; want %d", k.N.BitLen(), minRSABits)
		}
		return nil
	default:
		return fmt.Errorf("a key of type %T does not fit %s", key, algorithm)
	}
}

// fingerprint names a public key: SHA-256 over its SubjectPublicKeyInfo, as
// `openssl pkey -pubin -outform DER | sha256sum` prints it.
func fingerprint(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// GenerateKey makes a new key for ES256, both halves as PEM (PKCS #8 and
// SubjectPublicKeyInfo), and the public half's fingerprint. The caller keeps the
// private half secret.
func GenerateKey() (private, public []byte, print string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, "", fmt.Errorf("generate key: %w", err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, "", fmt.Errorf("generate key: %w", err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, "", fmt.Errorf("generate key: %w", err)
	}
	if print, err = fingerprint(key.Public()); err != nil {
		return nil, nil, "", fmt.Errorf("generate key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), print, nil
}
