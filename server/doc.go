// Package server is the gate's HTTP face. It reads requests strictly, knows who
// asks, hands the question to the engine and writes the answer; it decides
// nothing itself.
//
// A request goes through these rooms, in order:
//
//	server.go      the table of routes, each with the roles that may take it
//	auth.go        who asks, for which tenant; with --dev also: which host was meant
//	strictjson.go  the body: what JSON readers disagree about is refused
//	query.go       the query: known keys, each once, never clamped; cursors
//	fields.go      the bounds that several bodies share
//
// and then one handler, in the file of its noun:
//
//	decisions.go, batch.go, preview.go, actions.go   ask
//	wait.go, outcome.go                              what became of a decision
//	approvals.go, approvepage.go                     say yes or no; the page that asks
//	config.go, overrides.go, whitelist.go            turn the dial
//	gatelog.go                                       read the log
//	bundles.go, bundlemoves.go                       change the policy
//	health.go, metrics.go, openapi.go                about the process
//
// It leaves through answers.go or, whatever went wrong, through problem.go: one
// table from the engine's errors to RFC 9457 problem+json. What the table does
// not know is a 500 that says nothing; its cause goes to the log of the process.
//
// The routes, bodies, answers and problems are written down in openapi.yaml,
// and the tests of this package hold every answer against it.
package server
