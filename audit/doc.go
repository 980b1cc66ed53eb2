// Package audit is how an auditor can check the gate log without trusting the
// gate: what the leaves of each tenant's tree are, byte for byte, and how the
// tree grows.
//
// Each tenant has one append-only Merkle tree as in RFC 6962, section 2.1. Every
// row that is evidence is a leaf of it: decisions, changes of configuration and
// of the policy, steps of approvals, outcomes. The bytes of a leaf are a JSON
// object in the canonical form of RFC 8785 with every column of the row (leaf.go,
// kinds.go), so that they follow from the row alone and are kept nowhere else:
//
//	{"actor":"olga","after":"{…}",…,"leaf":"config_change","leaf_index":7,…,"v":1}
//
//	leaf hash  SHA-256(0x00 || bytes)
//	node hash  SHA-256(0x01 || left || right)
//
// What grows the tree keeps only its right edge (edge.go): the hashes of the
// perfect subtrees that make it up, one for each bit that is set in its size. A
// leaf more costs two hashes on average, however large the tree is.
//
// docs/tree.md has all of it with real bytes, enough to write another verifier.
// This package knows no database and nothing else of ours.
package audit
