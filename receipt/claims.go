package receipt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Claims are what a receipt says. The names on the wire are those of the gate's
// other answers.
type Claims struct {
	Version int    `json:"v"`   // 1
	Issuer  string `json:"iss"` // the name of the gate's key, such as gate.example

	Tenant           string `json:"tenant_id"`
	DecisionID       string `json:"decision_id"`
	ActionID         string `json:"action_id"`
	ActionType       string `json:"action_type"`
	Target           string `json:"target"`
	ParametersDigest string `json:"parameters_digest"` // see Digest; "" where the action has no parameters
	Grant            string `json:"grant"`             // how it was let go: GrantAuto or GrantApproval
	BundleHash       string `json:"bundle_hash"`       // of the policy that decided

	// Where the evidence is: the row of the gate log, and its leaf in the tenant's
	// tree (docs/tree.md).
	LogSeq    int64  `json:"log_seq"`
	LeafIndex int64  `json:"leaf_index"`
	LeafHash  string `json:"leaf_hash"` // base64

	IssuedAt  int64 `json:"iat"` // seconds since 1970: when it was decided
	ExpiresAt int64 `json:"exp"` // not good from then on
}

// How an action was let go.
const (
	GrantAuto     = "auto"     // by the policy
	GrantApproval = "approval" // by people
)

const version = 1

// Digest is how a receipt names parameters: sha256: and the hexadecimal SHA-256 of
// their RFC 8785 form, so that it does not matter how they are spelled. Without
// parameters it is "".
func Digest(parameters []byte) (string, error) {
	if len(parameters) == 0 {
		return "", nil
	}
	canonical := jsontext.Value(append([]byte(nil), parameters...))
	if err := canonical.Canonicalize(); err != nil {
		return "", fmt.Errorf("the parameters are not JSON as the gate takes it: %w", err)
	}
	if canonical.Kind() != '{' {
		return "", errors.New("the parameters are no JSON object")
	}
	sum := sha256.Sum256(canonical)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// parseClaims reads what Sign wrote, and nothing else: whatever does not come out
// as the same bytes again is none of ours.
func parseClaims(payload []byte) (c Claims, err error) {
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}, err
	}
	again, err := json.Marshal(c)
	if err != nil || string(again) != string(payload) {
		return Claims{}, errors.New("the claims are not spelled as a gate spells them")
	}
	if c.Version != version {
		return Claims{}, fmt.Errorf("the receipt has version %d, and this program knows %d", c.Version, version)
	}
	return c, nil
}
