// Package storetest gives tests real databases: a private, throwaway
// PostgreSQL cluster that can be stopped, started and killed, and stores on it
// and on SQLite files. Nothing here touches a server that somebody else runs.
package storetest

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver of admin connections
)

// Cluster is a throwaway PostgreSQL server: a data directory of its own, a
// socket in it, and a free loopback port. A watchdog process stops the server
// and removes its files when this process ends, however it ends.
type Cluster struct {
	dir, bin string
	port     int
	password string
	cred     *syscall.Credential
	watchdog *exec.Cmd
	leash    io.Closer // closed with this process; the watchdog waits for that

	mu     sync.Mutex
	server *exec.Cmd
	exited chan struct{}
	next   int
}

var shared struct {
	once sync.Once
	c    *Cluster
	err  error
}

// Shared returns the cluster that all tests of this binary share; the first
// call starts it. Tests that stop or kill the server want NewCluster.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.once.Do(func() { shared.c, shared.err = startCluster() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.c
}

// NewCluster starts a cluster for one test, which may do with it what it
// likes. settings are added to postgresql.conf.
func NewCluster(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := startCluster(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	return c
}

// Postgres makes a fresh, empty database in the shared cluster and returns its
// owner's URL, a superuser's. The database goes with the test.
func Postgres(t testing.TB) (ownerURL string) {
	t.Helper()
	return Shared(t).Database(t)
}

func startCluster(settings ...string) (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, password: rand.Text()}
	if c.cred, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "tiergate-pg-"); err != nil {
		return nil, err
	}
	if err := c.leashWatchdog(); err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	if err := c.initialize(settings); err != nil {
		c.remove()
		return nil, err
	}
	if err := c.Start(); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// binaries finds the directory of initdb and postgres.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "postgres")); err == nil {
				return filepath.Dir(path), nil
			}
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("PostgreSQL's initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin, and the tests need a real server of their own: run `apt-get install postgresql` (Debian's service may stay off)")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// unprivileged is whom the server runs as: PostgreSQL refuses to run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, nil
	}
	return nil, errors.New("the tests run as root, and there is neither a user postgres nor nobody for the PostgreSQL server to run as")
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	// A process group of its own: an interrupt typed at the tests is the
	// watchdog's business.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred, Setpgid: true}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd
}

func (c *Cluster) initialize(settings []string) error {
	pwfile := filepath.Join(c.dir, "password")
	if err := os.WriteFile(pwfile, []byte(c.password), 0o644); err != nil {
		return err
	}
	if c.cred != nil {
		if err := os.Chown(c.dir, int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			return err
		}
	}
	out, err := c.command("initdb", "-D", c.data(), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "--pwfile", pwfile, "-N").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := append([]string{
		"listen_addresses = '127.0.0.1'", "port = " + strconv.Itoa(c.port), "unix_socket_directories = '" + c.dir + "'",
		"max_connections = 200", "shared_buffers = 128MB", "max_wal_size = 4GB", "log_min_messages = fatal", "cluster_name = 'tiergate tests'",
	}, settings...)
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strings.Join(conf, "\n") + "\n")
	return err
}

// leashWatchdog starts the process that cleans up after us. It reads from a
// pipe that only we hold, so it wakes when we end.
func (c *Cluster) leashWatchdog() error {
	const script = `trap '' INT TERM HUP; read x; p=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$p" ]; then kill -QUIT "$p"; i=0; while kill -0 "$p" 2>/dev/null && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; fi
rm -rf "$1"`
	c.watchdog = exec.Command("/bin/sh", "-c", script, "sh", c.dir)
	c.watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	leash, err := c.watchdog.StdinPipe()
	if err != nil {
		return err
	}
	c.leash = leash
	return c.watchdog.Start()
}

// remove stops the server and deletes its files.
func (c *Cluster) remove() {
	c.leash.Close()
	c.watchdog.Wait()
}

// Start starts the server, after Stop or Kill, and waits until it answers.
func (c *Cluster) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		return errors.New("storetest: the server runs already")
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.command("postgres", "-D", c.data())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	c.server, c.exited = cmd, exited
	db, err := sql.Open("postgres", c.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err = db.Ping(); err == nil {
			return nil
		}
		select {
		case <-exited:
			text, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("the PostgreSQL server ended at once:\n%s", text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the PostgreSQL server does not answer: %w", err)
		}
	}
}

// Stop shuts the server down; its clients are thrown out first.
func (c *Cluster) Stop() error { return c.end(syscall.SIGINT) }

// Kill ends the server as a crash would: nothing is flushed, and the next
// Start recovers from the write-ahead log.
func (c *Cluster) Kill() error { return c.end(syscall.SIGQUIT) }

func (c *Cluster) end(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	if err := c.server.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case <-c.exited:
		c.server = nil
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("storetest: the server does not stop")
	}
}

// URL is the superuser's URL of a database in the cluster.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/%s?sslmode=disable", c.password, c.port, database)
}

// Database makes a fresh, empty database and returns its owner's URL.
func (c *Cluster) Database(t testing.TB) (ownerURL string) {
	t.Helper()
	c.mu.Lock()
	c.next++
	name := fmt.Sprintf("gate_%d", c.next)
	c.mu.Unlock()
	c.Exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() {
		c.mu.Lock()
		running := c.server != nil
		c.mu.Unlock()
		if running {
			c.Exec(t, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		}
	})
	return c.URL(name)
}

// Exec runs one statement as superuser in the database postgres.
func (c *Cluster) Exec(t testing.TB, query string) {
	t.Helper()
	db, err := sql.Open("postgres", c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// Freeze stops every process of the server where it stands, as a host that
// hangs would, until thaw is called. The test thaws at its end at the latest.
func (c *Cluster) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	pids := []int{c.server.Process.Pid} // first, so that it makes no more
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	thaw = sync.OnceFunc(func() {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	t.Cleanup(thaw)
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(pids[0])).Output()
	if err != nil {
		t.Fatalf("list the server's processes: %v", err)
	}
	for _, field := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	return thaw
}

// Own gives files to the operating system's user that the server runs as.
func (c *Cluster) Own(paths ...string) error {
	if c.cred == nil {
		return nil
	}
	for _, p := range paths {
		if err := os.Chown(p, int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			return err
		}
	}
	return nil
}
