// Package announce tells people and machines outside what the gate decided: that
// a whitelist entry let an action go, that somebody is asked to approve.
//
//	store (outbox) ──► Dispatcher ──► channel ──► format ──► client ──► receiver
//	      ▲                │  rests, paces          webhook, Slack, Teams
//	      └── Settle ◄─────┘
//
// What it promises:
//
//   - At least once. An announcement is claimed for a minute, sent, and settled.
//     If a gate dies in between, it is sent again when that minute has ended, by
//     this gate or another one. Receivers know it by its id, which is the same on
//     every attempt.
//   - An hour of a dead receiver loses nothing. A channel that fails rests, from
//     1 s up to 30 s, and is tried with one announcement at a time until one
//     arrives; then the rest follows. Only what a receiver refuses eight times, or
//     what is 72 hours old, is dead, and can be replayed.
//   - One announcement that a receiver cannot stomach holds up no other: what
//     failed comes later, the longest due is tried first.
//   - It trusts no receiver, and no name service. Addresses are judged at every
//     connect, after the name was resolved (address.go); redirects are not
//     followed; answers are bounded in size and time (client.go).
//   - It trusts no text either. What an agent wrote is shown, never run: no link,
//     mention or mark-up of it works in a message (slack.go, teams.go), and what
//     cannot be seen is written out (visible.go).
//   - No URL of a channel, which may be a password, and no key is logged, counted
//     by or told in an error; of a URL only the [Origin].
//
// It gives way to decisions: they share the processors. An idle gate asks the
// outbox two things a second, and a busy one at most twenty times as much.
package announce
