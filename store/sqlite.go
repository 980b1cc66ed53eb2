package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// sqliteDB is one SQLite file, held by one process at a time.
type sqliteDB struct {
	writer *sql.DB // the append worker's connection and one for changes
	reader *sql.DB
	turn   sync.Mutex // one of those two writes at a time; fairer than SQLite's own busy wait
	lock   *os.File
	path   string
}

func openSQLite(ctx context.Context, path, pragma string) (*sqliteDB, error) {
	path = strings.TrimPrefix(path, "//")
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return nil, badURL("sqlite: wants a file, for example sqlite:tiergate.db: what is kept in memory only is no evidence")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite file: %w", err)
	}
	if err := mayBeSQLite(path); err != nil {
		return nil, fmt.Errorf("open the SQLite file %s: %w", path, err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	s := &sqliteDB{lock: lock, path: path}
	if err := s.open(ctx, pragma); err != nil {
		s.close()
		return nil, fmt.Errorf("open the SQLite file %s: %w", path, err)
	}
	return s, nil
}

// mayBeSQLite refuses a file that is something else, before anything is put
// beside it. A missing or an empty one is a database to be.
func mayBeSQLite(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	switch n, err := io.ReadFull(f, head); {
	case err == io.EOF:
		return nil
	case err != nil && err != io.ErrUnexpectedEOF:
		return err
	case string(head[:n]) != magic:
		return errors.New("it is not a SQLite database; name another file")
	}
	return nil
}

// lockFile takes a lock that ends with the process, however it ends. The file
// itself stays: removing it would let two processes lock two files of one name.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the lock file beside the SQLite file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is held by another gate (%v): only one may work on an SQLite file. Stop the other one, or use PostgreSQL for several gates", strings.TrimSuffix(path, ".lock"), err)
	}
	return f, nil
}

func (s *sqliteDB) open(ctx context.Context, pragma string) error {
	// Made here so that the log is nobody else's to read.
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	dsn := func(more string) string {
		return (&url.URL{Scheme: "file", Path: s.path}).String() + "?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)" + more
	}
	const durable = "&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	if s.writer, err = sql.Open("sqlite", dsn(durable+pragma)); err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(2)
	s.writer.SetMaxIdleConns(2)
	p, err := provider(goose.DialectSQLite3, s.writer, "migrations/sqlite")
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if s.reader, err = sql.Open("sqlite", dsn("&_pragma=query_only(1)")); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(4)
	return s.reader.PingContext(ctx)
}

func (s *sqliteDB) reads() *sql.DB         { return s.reader }
func (s *sqliteDB) workers() int           { return 1 }
func (s *sqliteDB) where() string          { return "the SQLite file " + s.path }
func (s *sqliteDB) exclusive() sync.Locker { return &s.turn }

// text makes of PostgreSQL's $1 the numbered ?1, and leaves out the row locks:
// a transaction here is the only one that writes.
func (s *sqliteDB) text(query string) string {
	return liteText.Replace(query)
}

var liteText = strings.NewReplacer("$", "?", " FOR UPDATE SKIP LOCKED", "", " FOR UPDATE", "", " FOR SHARE", "")

func (s *sqliteDB) begin() (*sql.Tx, error) { return s.writer.BeginTx(context.Background(), nil) }

func (s *sqliteDB) snapshot(ctx context.Context) (*sql.Tx, error) {
	return s.reader.BeginTx(ctx, nil)
}

func (s *sqliteDB) health(ctx context.Context) (bool, time.Time, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return false, time.Time{}, err
	}
	return true, time.Now(), tx.Rollback()
}

// classify knows the result codes whose cause is in the rows themselves.
func (s *sqliteDB) classify(err error) failure {
	var fault *sqlite.Error
	if errors.As(err, &fault) {
		switch fault.Code() & 0xff {
		case 18, 19, 20, 25: // TOOBIG, CONSTRAINT, MISMATCH, RANGE
			return failedRow
		case 5, 6: // BUSY, LOCKED
			return failedRetry
		}
	}
	return failedAll
}

// follow does nothing: nobody else can change the file.
func (s *sqliteDB) follow(context.Context, *slog.Logger, func(string), func(), func(string, string)) {
}

func (s *sqliteDB) ensureMonth(time.Time) error { return nil }

func (s *sqliteDB) close() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}
