package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// writerRole is the database role that the gate works as. It can add to the
// log and read it, and change nothing in it.
const writerRole = "tiergate_writer"

// auditorRole can read the evidence, and the views over it, and nothing else.
const auditorRole = "tiergate_auditor"

// Migrate makes or updates the tables of the PostgreSQL database at ownerURL
// and the roles tiergate_writer and tiergate_auditor. It may run anywhere and at the same time: one
// waits for the other.
func Migrate(ctx context.Context, ownerURL string) error {
	if !isPostgresURL(ownerURL) {
		return badURL("migrate needs a PostgreSQL URL (postgres://…); an SQLite file is migrated when it is opened")
	}
	u, err := parseURL(ownerURL)
	if err != nil {
		return err
	}
	connector, err := newConnector(u, nil)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return unreachable(place(u), err)
	}
	return migratePostgres(ctx, db, place(u))
}

func migratePostgres(ctx context.Context, db *sql.DB, where string) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(720394051261), lock.WithLockTimeout(1, 120))
	if err != nil {
		return fmt.Errorf("prepare the migration lock: %w", err)
	}
	p, err := provider(goose.DialectPostgres, db, "migrations/postgres", goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w%s", where, err, roleAdvice(ctx, db, err))
	}
	return nil
}

// roleAdvice says what to do when a migration failed because its role may
// neither make our roles nor become a member of tiergate_writer.
func roleAdvice(ctx context.Context, db *sql.DB, err error) string {
	if !isDenied(err) {
		return ""
	}
	var owner string
	var exists, member, auditor bool
	if db.QueryRowContext(ctx, `SELECT quote_ident(current_user), count(*) > 0, coalesce(bool_or(pg_has_role(current_user, oid, 'MEMBER')), false),
		EXISTS (SELECT FROM pg_roles WHERE rolname = $2) FROM pg_roles WHERE rolname = $1`, writerRole, auditorRole).Scan(&owner, &exists, &member, &auditor) != nil {
		return ""
	}
	switch {
	case member && auditor:
		return ""
	case member:
		return fmt.Sprintf(". The role %s is missing, and %s may not make roles. Have a superuser run `CREATE ROLE %[1]s NOLOGIN`, then migrate again", auditorRole, owner)
	case exists:
		return fmt.Sprintf(". The role %[1]s is there already, as it belongs to the whole server, and %[2]s is no member of it and may not grant it. Have a superuser run `GRANT %[1]s TO %[2]s`, then migrate again", writerRole, owner)
	}
	return fmt.Sprintf(". The role %[1]s is missing, and %[2]s may not make roles. Have a superuser run `CREATE ROLE %[1]s NOLOGIN; GRANT %[1]s TO %[2]s; CREATE ROLE %[3]s NOLOGIN`, then migrate again", writerRole, owner, auditorRole)
}

// isDenied reports whether the database said insufficient_privilege.
func isDenied(err error) bool {
	var fault *pq.Error
	return errors.As(err, &fault) && fault.Code == "42501"
}

func provider(dialect goose.Dialect, db *sql.DB, dir string, opts ...goose.ProviderOption) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return nil, fmt.Errorf("embedded migrations: %w", err)
	}
	opts = append(opts, goose.WithDisableGlobalRegistry(true))
	p, err := goose.NewProvider(dialect, db, files, opts...)
	if err != nil {
		return nil, fmt.Errorf("embedded migrations: %w", err)
	}
	return p, nil
}

// mayMigrate reports whether the role behind db owns the tables, or may make
// them where there are none.
func mayMigrate(ctx context.Context, db *sql.DB) (bool, error) {
	var may bool
	err := db.QueryRowContext(ctx, `
		SELECT CASE WHEN to_regclass('remediation_gate_log') IS NOT NULL
			THEN (SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('remediation_gate_log'))
			ELSE coalesce(has_schema_privilege(current_user, current_schema(), 'CREATE'), false)
				AND (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user)
			END`).Scan(&may)
	return may, err
}

// checkVersion refuses a database whose tables are older than this program.
func checkVersion(ctx context.Context, db *sql.DB, where string) error {
	p, err := provider(goose.DialectPostgres, db, "migrations/postgres")
	if err != nil {
		return err
	}
	want := p.ListSources()[len(p.ListSources())-1].Version
	var have int64
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have)
	if isDenied(err) {
		var role string
		if err := db.QueryRowContext(ctx, `SELECT quote_ident(current_user)`).Scan(&role); err != nil {
			return fmt.Errorf("read the version of the tables in %s: %w", where, err)
		}
		return fmt.Errorf("the role %[2]s of this URL may not read the tables in %[1]s: run `GRANT %[3]s TO %[2]s` there as a superuser or as whoever may grant %[3]s, and see that %[2]s is INHERIT", where, role, writerRole)
	}
	var fault *pq.Error
	if errors.As(err, &fault) && fault.Code == "42P01" {
		have, err = 0, nil // no such table
	}
	if err != nil {
		return fmt.Errorf("read the version of the tables in %s: %w", where, err)
	}
	if have < want {
		return fmt.Errorf("%s has no tables for this version of tiergate (theirs %d, ours %d), and this URL's role may not make them: run `tiergate migrate --database-url OWNER_URL` with the URL of the database's owner, and `GRANT tiergate_writer TO` this role", where, have, want)
	}
	return nil
}
