// Package client speaks to a gate over its HTTP API, for the operator's command
// line. It knows the words on the wire and nothing of how a gate decides.
//
//	Options ──► New ──► Client ──► Config, SetTier, Stop, Release
//	                       │       PutOverride, DeleteOverride
//	                       │       Whitelist, AddWhitelist, DeleteWhitelist
//	                       │       Decide, Preview, Actions, Matrix
//	                       └─────► Log, Follow
//
// A gate is trusted with the token and with nothing else. So:
//
//   - The token goes to the host that Options name, and nowhere else: a redirect
//     is an error, and plain http is for loopback only. No error holds it, not
//     even one that repeats what a server said.
//   - An answer is bounded in size and time, read strictly, and must hold what
//     the API promises; half an answer is none.
//   - Text of a server may hold anything. Errors of this package are ready to be
//     shown; everything else goes through Printable first, and JSON through
//     PrintableJSON.
//
// Every method returns an Answer: the value, and the body as it came.
package client
