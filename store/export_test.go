package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
)

// Faults for the tests of package store_test.

// WithDialer makes the store connect through d.
func WithDialer(d pq.Dialer) func(*Options) { return func(o *Options) { o.dialer = d } }

// WithPragma adds to the URL of the SQLite connections that write.
func WithPragma(p string) func(*Options) { return func(o *Options) { o.pragma = p } }

// WithoutTree makes an append leave the trees alone, to measure what they cost.
// The database must take rows that are no leaves.
func WithoutTree(o *Options) { o.noTree = true }

// NetDialer is what connects when nobody says otherwise.
type NetDialer = netDialer

// MigrateTo makes the tables as a program of that version had them.
func MigrateTo(ctx context.Context, url string, version int64) error {
	dialect, driver, dsn := goose.DialectPostgres, "postgres", url
	dir := "migrations/postgres"
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		dialect, driver, dsn, dir = goose.DialectSQLite3, "sqlite", file, "migrations/sqlite"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := provider(dialect, db, dir)
	if err != nil {
		return err
	}
	_, err = p.UpTo(ctx, version)
	return err
}

// Fence is whether this build checks epochs.
const Fence = fence

// Fill puts n whitelist entries into the view alone, of which three match
// 10.1.2.3.
func Fill(s *Store, tenant, action string, n int) error {
	e := s.view.edit()
	if err := e.putTenant(&tenantState{id: tenant, tier: 4, epoch: 1}); err != nil {
		return err
	}
	for i := range n {
		var c string
		switch {
		case i == 0:
			c = `{"target":"10.1.2.3"}`
		case i == 1:
			c = `{"target_cidr":"10.1.2.0/24"}`
		case i == 2:
			c = `{"target_prefix":"10.1."}`
		case i%3 == 0:
			c = fmt.Sprintf(`{"target":"host:wks-%d"}`, i)
		case i%3 == 1:
			c = fmt.Sprintf(`{"target_prefix":"host:site-%d."}`, i)
		default:
			c = fmt.Sprintf(`{"target_cidr":"172.%d.%d.%d"}`, 16+i>>16, i>>8&255, i&255)
		}
		w := &entry{tenant: tenant, action: action, id: fmt.Sprintf("%08d", i), constraints: c, expires: 1 << 50}
		if err := e.addEntry(w); err != nil {
			return err
		}
	}
	return e.commit()
}

// FindOpen is the append's look-up of open approvals, and Planning what its
// connections are set to.
var (
	FindOpen = pgFindOpen
	Planning = planning
)
