//go:build race

package store_test

// raceDetector reports whether the tests run under it.
const raceDetector = true
