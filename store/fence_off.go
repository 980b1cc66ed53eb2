//go:build nofence

package store

// fence is off in builds with the tag nofence, which exist to show that the
// race test can fail. Never release one.
const fence = false
