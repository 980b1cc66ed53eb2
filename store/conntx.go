package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// connTx is an append worker's connection with at most one transaction.
//
// It is not a sql.Tx, for two reasons. A sql.Tx on a sql.Conn holds a lock that
// the Conn's own prepared statements wait for when the connection dies under
// them, for ever. And lib/pq begins a sql.Tx as READ WRITE, which would write
// to a database that somebody has made read-only by default.
type connTx struct {
	conn *sql.Conn
	tx   driver.Tx
	text func(query string) string // adapts a statement written for PostgreSQL
}

func (c *connTx) begin() error {
	return c.conn.Raw(func(dc any) (err error) {
		if b, ok := dc.(interface{ Begin() (driver.Tx, error) }); ok {
			c.tx, err = b.Begin()
			return err
		}
		c.tx, err = dc.(driver.ConnBeginTx).BeginTx(context.Background(), driver.TxOptions{})
		return err
	})
}

// commit reports an error unless the database has confirmed a COMMIT.
func (c *connTx) commit() error { return c.conn.Raw(func(any) error { return c.tx.Commit() }) }

func (c *connTx) rollback() error { return c.conn.Raw(func(any) error { return c.tx.Rollback() }) }

// close ends the connection for good: its state may be anything.
func (c *connTx) close() {
	c.conn.Raw(func(any) error { return driver.ErrBadConn })
	c.conn.Close()
}
