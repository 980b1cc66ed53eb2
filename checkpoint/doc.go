// Package checkpoint is what the gate signs about a tenant's tree, so that it can
// be kept where nobody who runs the database can write: "the tree had this root
// when it had so many leaves".
//
// A checkpoint is a C2SP tlog-checkpoint, three lines and a line per signature:
//
//	gate.example/acme                                    origin: the key's name, a slash, the tenant
//	3                                                    how many leaves the tree has
//	6dZoEdoroY3gOLEXjVYk/HbeYP/Bl7kY9CvkoiIftQU=         its root (RFC 6962), in base64
//
//	— gate.example Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe…
//
// It is signed as a note (C2SP signed-note) with Ed25519. The same tree, tenant
// and key give the same bytes, whoever signs and whenever. No tenant's id has a
// slash, so the last one of an origin ends the key's name.
//
// Keys are text as in C2SP signed-note; NewKey makes a pair:
//
//	PRIVATE+KEY+gate.example+033de0ae+AXwz…   the signer; a secret
//	gate.example+033de0ae+ATQz…               the verifier; give it to whoever checks
//
// Open checks a checkpoint that somebody kept. This package knows no database,
// so a program that shares nothing with the gate can use it.
//
// https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note
package checkpoint
