//go:build !race

package server

import "time"

// patience is the store's in tests: its default.
const patience time.Duration = 0
