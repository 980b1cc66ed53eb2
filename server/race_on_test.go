//go:build race

package server

import "time"

// patience is the store's in tests; a thousand rows take seconds under the race
// detector.
const patience = 10 * time.Second
