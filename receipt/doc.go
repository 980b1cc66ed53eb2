// Package receipt is what whoever carries out an action imports, so that it does
// nothing that the gate has not let go.
//
// The gate gives a receipt with each answer that lets an action go, once the
// decision's row is durable: a signed statement of tenant, action type, target and
// parameters that is good for half a minute. An agent passes it on with the action,
// and the executor calls Verify with what it is about to do:
//
//	claims, err := receipt.Verify(token, keys, receipt.Want{
//		Tenant: "acme", ActionType: "block_ip", Target: "203.0.113.9", Parameters: parameters,
//	}, time.Now())
//
// An agent that skips the gate has nothing to show, one that changes the target
// shows a receipt for something else, and one that waits too long one that has run
// out. A receipt is good for one run: the executor keeps each DecisionID until its
// receipt has run out, and refuses the second.
//
// A receipt is a JWS in the compact form of RFC 7515, signed with Ed25519 (RFC
// 8037). Nothing in it is negotiated. The header is the same text for every receipt
// of a key, and is compared as that text, not parsed: so there are no other
// algorithms, no keys that the token brings along, and no extensions:
//
//	{"alg":"EdDSA","kid":"<RFC 7638 thumbprint>","typ":"tiergate-receipt+jwt"}
//
// The keys come from the gate's /.well-known/jwks.json; see ParseKeys.
package receipt
