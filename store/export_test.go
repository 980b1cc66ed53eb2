package store

import "github.com/lib/pq"

// Faults for the tests of package store_test.

// WithDialer makes the store connect through d.
func WithDialer(d pq.Dialer) func(*Options) { return func(o *Options) { o.dialer = d } }

// WithPragma adds to the URL of the SQLite connections that write.
func WithPragma(p string) func(*Options) { return func(o *Options) { o.pragma = p } }

// NetDialer is what connects when nobody says otherwise.
type NetDialer = netDialer

// Fence is whether this build checks epochs.
const Fence = fence
