package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"

	"github.com/tiergate/tiergate/engine"
)

// channel is where a change is announced, as "<tenant> <epoch>", policyChannel
// where one of the policy is, and approvalChannel where a step of an approval
// is, as "<tenant> <approval_id>".
const (
	channel         = "tiergate_config"
	policyChannel   = "tiergate_policy"
	approvalChannel = "tiergate_approval"
)

// postgres is a PostgreSQL database, worked in as tiergate_writer.
type postgres struct {
	pool   *sql.DB  // everything but appends and LISTEN
	append *sql.DB  // one connection per append worker
	url    *url.URL // with every setting of a session
	dialer pq.Dialer
	place  string
}

// session is what every connection is opened with. A gate that hangs in the
// middle of a transaction holds heads that others wait for, so the server ends
// it; a lock that is not given in time is an error, not a wait without end.
var session = map[string]string{
	"idle_in_transaction_session_timeout": "5000",
	"lock_timeout":                        "4000",
}

// planning is for append connections. Their statements look up a handful of
// keys; a plan made while the tables were empty must not scan them later.
var planning = map[string]string{
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"plan_cache_mode":  "force_generic_plan",
}

func openPostgres(ctx context.Context, opts Options) (_ *postgres, warning string, err error) {
	u, err := parseURL(opts.URL)
	if err != nil {
		return nil, "", err
	}
	where := place(u)
	probe, err := newConnector(u, opts.dialer)
	if err != nil {
		return nil, "", err
	}
	db := sql.OpenDB(probe)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return nil, "", unreachable(where, err)
	}
	owner, err := mayMigrate(ctx, db)
	if err != nil {
		return nil, "", fmt.Errorf("ask %s what this role may do: %w", where, err)
	}
	settings := maps.Clone(session)
	if owner {
		if err := migratePostgres(ctx, db, where); err != nil {
			return nil, "", err
		}
		settings["role"] = writerRole
		warning = "the database URL is that of an owner or superuser of the tables: the gate works through SET ROLE tiergate_writer, but whoever has this URL can change the log. Run `tiergate migrate` with it once and give `serve` the URL of a login role that is only a member of tiergate_writer"
	}
	if err := checkVersion(ctx, db, where); err != nil {
		return nil, "", err
	}
	p := &postgres{url: withRuntime(u, settings), dialer: opts.dialer, place: where}
	if p.pool, err = p.open(p.url); err != nil {
		return nil, "", err
	}
	if p.append, err = p.open(withRuntime(p.url, planning)); err != nil {
		return nil, "", err
	}
	p.pool.SetMaxOpenConns(16)
	p.pool.SetMaxIdleConns(8)
	return p, warning, nil
}

func (p *postgres) open(u *url.URL) (*sql.DB, error) {
	dialer := p.dialer
	if dialer == nil {
		dialer = netDialer{}
	}
	c, err := newConnector(u, patientDialer{dialer})
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(durable{c}), nil
}

func newConnector(u *url.URL, dialer pq.Dialer) (*pq.Connector, error) {
	c, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, badURL("the database URL for %s is not usable: %w", place(u), err)
	}
	if dialer != nil {
		c.Dialer(dialer)
	}
	return c, nil
}

func unreachable(where string, err error) error {
	return fmt.Errorf("cannot work with %s: %w. Is the server running there, and are user, password, database and sslmode in --database-url right?", where, err)
}

// durable opens connections on which a commit that was answered is on disk,
// whatever the role or database has set.
type durable struct{ *pq.Connector }

func (d durable) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	const query = `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`
	rows, err := c.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err == nil {
		err = rows.Close()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (p *postgres) reads() *sql.DB           { return p.pool }
func (p *postgres) workers() int             { return 2 }
func (p *postgres) text(query string) string { return query }
func (p *postgres) where() string            { return p.place }
func (p *postgres) close() error             { return errors.Join(p.append.Close(), p.pool.Close()) }
func (p *postgres) exclusive() sync.Locker   { return noLock{} }

func (p *postgres) ensureMonth(at time.Time) error {
	_, err := p.pool.Exec(pgPrepareMonth, engine.FormatTime(at))
	return err
}

// begin undoes lib/pq's READ WRITE, which would write to a database that
// somebody has made read-only by default. The isolation level is named because
// whoever locks a row and then reads another relies on it.
func (p *postgres) begin() (*sql.Tx, error) {
	tx, err := p.pool.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, err
	}
	const query = `SELECT set_config('transaction_read_only', current_setting('default_transaction_read_only'), true)`
	if _, err := tx.Exec(query); err != nil {
		tx.Rollback()
		return nil, err
	}
	return tx, nil
}

func (p *postgres) snapshot(ctx context.Context) (*sql.Tx, error) {
	return p.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
}

func (p *postgres) health(ctx context.Context) (writable bool, now time.Time, err error) {
	err = p.pool.QueryRowContext(ctx, `SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off', clock_timestamp()`).Scan(&writable, &now)
	return writable, now, err
}

// classify knows the SQLSTATE classes whose cause is in the rows themselves.
func (p *postgres) classify(err error) failure {
	var fault *pq.Error
	if !errors.As(err, &fault) || fault.Fatal() || len(fault.Code) != 5 {
		return failedAll
	}
	switch fault.Code[:2] {
	case "22", "23", "54": // data exception, constraint, limit exceeded
		return failedRow
	case "40": // deadlock, serialization
		return failedRetry
	}
	return failedAll
}

// follow listens until ctx ends; the driver connects again by itself.
func (p *postgres) follow(ctx context.Context, log *slog.Logger, hint func(tenant string), policy func(), approval func(tenant, id string)) {
	dialer := p.dialer
	if dialer == nil {
		dialer = netDialer{}
	}
	l := pq.NewDialListener(dialer, p.url.String(), 50*time.Millisecond, time.Second, func(ev pq.ListenerEventType, err error) {
		if ev == pq.ListenerEventDisconnected {
			log.Warn("lost the connection that listens for configuration changes; polling until it is back", "database", p.place, "error", err)
		}
	})
	defer l.Close()
	go func() { _ = errors.Join(l.Listen(channel), l.Listen(policyChannel), l.Listen(approvalChannel)) }()
	ping := time.NewTicker(15 * time.Second) // finds a connection that died silently
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-l.Notify:
			switch {
			case n == nil: // connected again: anything may have been missed
				hint("")
				policy()
				approval("", "")
			case n.Channel == policyChannel:
				policy()
			case n.Channel == approvalChannel:
				tenant, id, _ := strings.Cut(n.Extra, " ")
				approval(tenant, id)
			default:
				tenant, _, _ := strings.Cut(n.Extra, " ")
				hint(tenant)
			}
		case <-ping.C:
			go l.Ping()
		}
	}
}

type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

// patience bounds how long one read or write may hang before the connection
// counts as lost. It is far above any statement of ours.
const patience = 20 * time.Second

type netDialer struct{}

func (netDialer) Dial(network, address string) (net.Conn, error) {
	return (&net.Dialer{}).Dial(network, address)
}

func (netDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout}).Dial(network, address)
}

// patientDialer gives every read and write a deadline, so that a server that
// vanished without a word does not keep an append worker for ever.
type patientDialer struct{ pq.Dialer }

func (d patientDialer) Dial(network, address string) (net.Conn, error) {
	return wrapPatient(d.Dialer.Dial(network, address))
}

func (d patientDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	return wrapPatient(d.Dialer.DialTimeout(network, address, timeout))
}

func wrapPatient(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: c}, nil
}

type patientConn struct {
	net.Conn
	mu     sync.Mutex
	theirs bool // the driver has set a deadline of its own
}

func (c *patientConn) Read(b []byte) (int, error) {
	c.arm()
	return c.Conn.Read(b)
}

func (c *patientConn) Write(b []byte) (int, error) {
	c.arm()
	return c.Conn.Write(b)
}

func (c *patientConn) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.theirs {
		c.Conn.SetDeadline(time.Now().Add(patience))
	}
}

func (c *patientConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.theirs = !t.IsZero()
	return c.Conn.SetDeadline(t)
}
