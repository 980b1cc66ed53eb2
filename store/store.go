package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/engine"
)

// Options says how a Store is opened. Only URL is required.
type Options struct {
	// URL names the database: postgres://user@host/db?… or sqlite:FILE.
	//
	// A PostgreSQL URL without sslmode gets sslmode=disable when every host in
	// it is a loopback address or a unix socket, and verify-full otherwise.
	URL string
	// Logger takes what nobody is there to be told as an error. Nil: slog.Default().
	Logger *slog.Logger
	// Registerer takes the tiergate_… metrics. Nil: they are kept nowhere.
	Registerer prometheus.Registerer
	// Poll is how often the epochs of all tenants are compared with the
	// database's: the longest that a lost notification goes unnoticed.
	// Zero: 1 s.
	Poll time.Duration
	// QueueSize is how many entries may wait for a commit. Zero: 4096.
	QueueSize int
	// Patience is how long Append waits for the commit of an entry, and the
	// most that a change of configuration waits. Zero: 1 s and 5 s.
	Patience time.Duration

	dialer pq.Dialer // tests put faults into it; nil: the network
	pragma string    // tests make SQLite's disk small with it
	noTree bool      // measurements compare the append without trees
}

// Store is an open database with its view in memory. It is safe for use by
// many goroutines.
type Store struct {
	opts    Options
	log     *slog.Logger
	db      database
	view    *view
	queue   *queue
	hub     *hub
	metrics *metrics
	warning string

	known    sync.Map // tenant id → struct{}: tenants that have a head row
	damaged  sync.Map // tenant id → nil: tenants whose tree's head cannot be read, as was logged
	catchUp  sync.Mutex
	lastErr  lastError
	news     chan struct{}        // of the policy; holds one
	outbox   chan struct{}        // news of the outbox; holds one
	expanded string               // the tenant behind which Expand goes on
	pausing  map[string]time.Time // tenants that have had their share of Expand, until when

	stop    context.CancelFunc // ends the followers
	workers sync.WaitGroup     // append workers and what they started
	follows sync.WaitGroup     // listener and poller
	closing sync.Once
	changes sync.RWMutex // read-locked by a change under way
	closed  bool         // guarded by changes
}

var (
	_ engine.FactSource = (*Store)(nil)
	_ engine.Log        = (*Store)(nil)
)

// database is what differs between PostgreSQL and SQLite.
type database interface {
	// reads is for queries outside of transactions that write.
	reads() *sql.DB
	// begin starts a transaction that writes. It is never cancelled.
	begin() (*sql.Tx, error)
	// workers is how many appenders are worth running.
	workers() int
	// newAppender opens a connection for one append worker.
	newAppender() (appender, error)
	// text adapts a statement written for PostgreSQL.
	text(query string) string
	// snapshot starts a transaction that sees one moment.
	snapshot(ctx context.Context) (*sql.Tx, error)
	// health says whether a write would be taken, and what the clock shows.
	health(ctx context.Context) (writable bool, now time.Time, err error)
	// classify says what an error of a statement tells about the batch.
	classify(error) failure
	// follow sends the ids of tenants that changed ("" for: maybe any), and news
	// of the policy and of approvals, until ctx ends.
	follow(ctx context.Context, log *slog.Logger, hint func(tenant string), policy func(), approval func(tenant, id string))
	// ensureMonth makes sure that rows decided then have a place in the log.
	ensureMonth(at time.Time) error
	// exclusive is held by whoever writes, where only one can.
	exclusive() sync.Locker
	where() string // for messages; no password
	close() error
}

// failure is what an error says about the statement that met it.
type failure int

const (
	failedAll   failure = iota // nothing of this batch can be written now
	failedRow                  // some row of the batch is refused; others may pass
	failedRetry                // rolled back by the database; the same batch may pass now
)

// Open opens the database, brings its tables up to date where the URL's role
// may, loads the configuration into memory and starts the workers. ctx bounds
// the opening only. Close the Store when done.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	if opts.QueueSize <= 0 {
		opts.QueueSize = 4096
	}
	s := &Store{opts: opts, log: opts.Logger, news: make(chan struct{}, 1), outbox: make(chan struct{}, 1), pausing: map[string]time.Time{}, hub: newHub()}
	var err error
	switch {
	case strings.HasPrefix(opts.URL, "sqlite:"):
		s.db, err = openSQLite(ctx, strings.TrimPrefix(opts.URL, "sqlite:"), opts.pragma)
	case isPostgresURL(opts.URL):
		s.db, s.warning, err = openPostgres(ctx, opts)
	default:
		err = badURL("the database URL must start with postgres:// or sqlite: — for example sqlite:tiergate.db")
	}
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.db.close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	var err error
	if s.view, err = newView(); err != nil {
		return err
	}
	if s.metrics, err = newMetrics(s, s.opts.Registerer); err != nil {
		return fmt.Errorf("register the store's metrics: %w", err)
	}
	if err := s.load(ctx); err != nil {
		s.metrics.unregister()
		return fmt.Errorf("load the configuration from %s: %w", s.db.where(), err)
	}
	s.queue = newQueue(s.opts.QueueSize)
	for range s.db.workers() {
		s.workers.Go(s.appendLoop)
	}
	var follow context.Context
	follow, s.stop = context.WithCancel(context.Background())
	s.follows.Go(func() { s.db.follow(follow, s.log, s.hint, s.policyNews, s.hub.news) })
	s.follows.Go(func() { s.followHub(follow) })
	s.follows.Go(func() { s.pollLoop(follow) })
	return nil
}

// Warning is what whoever runs the gate should know about how it was opened;
// empty when all is as it should be.
func (s *Store) Warning() string { return s.warning }

// Close takes no more entries, finishes those that wait, and closes the
// database. When ctx ends first, what still waits is answered with
// engine.ErrUnavailable, while its commit may yet succeed.
func (s *Store) Close(ctx context.Context) error {
	var err error
	s.closing.Do(func() {
		s.queue.close()
		s.stop()
		done := make(chan struct{})
		go func() {
			s.workers.Wait()
			s.follows.Wait()
			s.changes.Lock()
			s.closed = true
			s.changes.Unlock()
			close(done)
		}()
		select {
		case <-done:
			err = s.db.close()
		case <-ctx.Done():
			s.queue.abandon()
			go func() { <-done; s.db.close() }()
			err = fmt.Errorf("close the store: entries still wait for their commit: %w", ctx.Err())
		}
		s.metrics.unregister()
	})
	return err
}
