// Package server is the gate's HTTP face. It reads requests strictly, knows who
// asks, hands the question to the engine and writes the answer; it decides
// nothing itself.
//
//	server.go      routes, each with the roles that may take it
//	auth.go        tokens, roles, tenants
//	strictjson.go  bodies: what JSON readers disagree about is refused
//	decisions.go   ask
//	config.go, overrides.go, whitelist.go   turn the dial
//	gatelog.go     read the log
//	problem.go     every error, as RFC 9457 problem+json
package server
