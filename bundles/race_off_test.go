//go:build !race

package bundles_test

// raceDetector reports whether the tests run under it.
const raceDetector = false
