package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// faultDialer breaks the connection at one write, counted from when it was
// armed. A statement of the append is one write or more, so that counting up
// breaks each of them in turn.
type faultDialer struct {
	store.NetDialer
	mu        sync.Mutex
	left      int  // writes until the fault; below 0: not armed
	delivered bool // the server gets the write all the same: "failed but written"
	sticky    bool // no connection works after the fault, until disarmed
	struck    bool
}

func (d *faultDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, 0)
}

func (d *faultDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	d.mu.Lock()
	down := d.struck && d.sticky
	d.mu.Unlock()
	if down {
		return nil, errors.New("fault: no connection")
	}
	c, err := d.NetDialer.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	return &faultConn{Conn: c, d: d}, nil
}

func (d *faultDialer) arm(writes int, delivered, sticky bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.delivered, d.sticky, d.struck = writes, delivered, sticky, false
}

// disarm reports whether the fault struck.
func (d *faultDialer) disarm() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	struck := d.struck
	d.left, d.struck = -1, false
	return struck
}

type faultConn struct {
	net.Conn
	d *faultDialer
}

func (c *faultConn) Write(b []byte) (int, error) {
	c.d.mu.Lock()
	strike := false
	if c.d.left >= 0 {
		if strike = c.d.left == 0; strike {
			c.d.struck = true
		}
		c.d.left--
	}
	delivered := c.d.delivered
	c.d.mu.Unlock()
	if !strike {
		return c.Conn.Write(b)
	}
	if delivered {
		n, err := c.Conn.Write(b)
		time.Sleep(20 * time.Millisecond) // the server does it, and nobody hears of it
		c.Conn.Close()
		return n, err
	}
	c.Conn.Close()
	return 0, errors.New("fault: connection lost")
}

// TestFaultAtEveryStatement breaks the connection at every write of an append,
// in pairs: lost before the server got it, and after it did. After each, the
// same actions are asked again, as clients do, and the whole log is proved.
func TestFaultAtEveryStatement(t *testing.T) {
	for _, rows := range []int{3, 100} { // arrays, COPY
		for _, delivered := range []bool{false, true} {
			for _, sticky := range []bool{false, true} {
				t.Run(fmt.Sprintf("rows=%d/written=%v/down=%v", rows, delivered, sticky), func(t *testing.T) {
					t.Parallel()
					faultEverywhere(t, rows, delivered, sticky)
				})
			}
		}
	}
}

func faultEverywhere(t *testing.T, rows int, delivered, sticky bool) {
	url := storetest.Postgres(t)
	d := &faultDialer{left: -1}
	s := storetest.Open(t, url, store.WithDialer(d), func(o *store.Options) { o.Poll = time.Hour })
	var answered []*engine.Entry
	ask := func(actions []string) (unanswered int) {
		entries := make([]*engine.Entry, rows)
		for i := range entries {
			entries[i] = storetest.Entry(fmt.Sprintf("t%d", i%3), 0)
			entries[i].Parameters = []byte(`{}`)
			if actions[i] == "" {
				actions[i] = entries[i].ActionID
			}
			entries[i].ActionID = actions[i]
		}
		for _, r := range s.Append(t.Context(), entries) {
			if r.Err == nil {
				answered = append(answered, r.Entry)
				continue
			}
			unanswered++
			if !errors.Is(r.Err, engine.ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", r.Err)
			}
		}
		return unanswered
	}
	ask(make([]string, rows)) // warm: heads, month and statements are there
	for write := 0; ; write++ {
		actions := make([]string, rows)
		d.arm(write, delivered, sticky)
		ask(actions)
		if !d.disarm() {
			t.Logf("%d writes", write)
			if write < 5 {
				t.Error("an append is at least five statements: the faults missed it")
			}
			break
		}
		deadline := time.Now().Add(5 * time.Second)
		for ask(actions) > 0 { // serving again by itself
			if time.Now().After(deadline) {
				t.Fatalf("fault at write %d: not serving again", write)
			}
		}
	}
	storetest.CheckLog(t, url, answered)
}

// load asks from many goroutines until stop is called, which returns what was
// answered. Unavailable answers are asked again with the same action_id.
func load(t *testing.T, s *store.Store, callers, tenants int) (stop func() []*engine.Entry) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var answered []*engine.Entry
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; ctx.Err() == nil; i++ {
				e := storetest.Entry(fmt.Sprintf("t%d", i%tenants), 0)
				for ctx.Err() == nil {
					r := s.Append(context.Background(), []*engine.Entry{e})[0]
					if r.Err == nil {
						mu.Lock()
						answered = append(answered, r.Entry)
						mu.Unlock()
						break
					}
					next := *e
					e = &next
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	return func() []*engine.Entry {
		cancel()
		wg.Wait()
		return answered
	}
}

func TestBackendsTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	s := storetest.Open(t, url)
	db := storetest.DB(t, url)
	stop := load(t, s, 16, 5)
	for round := range 20 {
		// Ever longer: on a busy machine a new connection alone takes over 50 ms.
		time.Sleep(time.Duration(50+15*round) * time.Millisecond)
		if _, err := db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
	}
	answered := stop()
	if len(answered) < 100 {
		t.Errorf("only %d answers", len(answered))
	}
	storetest.CheckLog(t, url, answered)
}

// TestServerDownAndBack kills the server under load. While it is away every
// question is refused within a second or so; when it is back, decisions and
// the listener work again by themselves.
func TestServerDownAndBack(t *testing.T) {
	t.Parallel()
	c := storetest.NewCluster(t)
	url := c.Database(t)
	s, other := storetest.Open(t, url), storetest.Open(t, url, func(o *store.Options) { o.Poll = time.Hour })
	stop := load(t, s, 8, 2)
	for range 2 {
		time.Sleep(150 * time.Millisecond)
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			started := time.Now()
			r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("down", 0)})[0]
			if !errors.Is(r.Err, engine.ErrUnavailable) || time.Since(started) > 1500*time.Millisecond {
				t.Errorf("while down: %v after %v", r.Err, time.Since(started))
			}
		}
		if h := s.Health(t.Context()); h.Writable {
			t.Error("while down: healthy")
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "serving again", func() bool {
			return s.Append(t.Context(), []*engine.Entry{storetest.Entry("back", 0)})[0].Err == nil
		})
	}
	storetest.CheckLog(t, url, stop())
	want, err := s.SetStopped(t.Context(), "followed", true, meta)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other gate's listener is back", func() bool {
		f, _ := other.Facts("followed", "x", "y", time.Now())
		return f.Epoch == want.Epoch && f.Stopped
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 5 s", what)
		}
	}
}

// TestOneBadRow: a row that the database refuses fails alone, wherever it
// stands in the batch.
func TestOneBadRow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		bad := map[string]func(*engine.Entry){
			"critical auto": func(e *engine.Entry) { e.BlastRadius, e.Decision = engine.Critical, engine.Auto },
			"no rationale":  func(e *engine.Entry) { e.Rationale = "" },
			"no decision":   func(e *engine.Entry) { e.Decision = 0 },
			"tier 9":        func(e *engine.Entry) { e.MaturityTier = 9 },
			"no uuid":       func(e *engine.Entry) { e.ActionID = "x" },
			"no tenant":     func(e *engine.Entry) { e.TenantID = "" },
			"no input":      func(e *engine.Entry) { e.Input = nil },
		}
		var total int64
		for what, spoil := range bad {
			for _, n := range []int{1, 7, 200} {
				entries := make([]*engine.Entry, n)
				for i := range entries {
					entries[i] = storetest.Entry("acme", 0)
				}
				spoil(entries[n/2])
				for i, r := range s.Append(t.Context(), entries) {
					if i == n/2 && !errors.Is(r.Err, engine.ErrUnavailable) {
						t.Errorf("%s: the bad row got %v", what, r.Err)
					}
					if i != n/2 && r.Err != nil {
						t.Errorf("%s: row %d of %d got %v", what, i, n, r.Err)
					}
				}
				total += int64(n - 1)
			}
		}
		list, err := s.Entries(t.Context(), "acme", engine.LogQuery{Limit: 1})
		if err != nil || len(list) != 1 || list[0].LogSeq != total {
			t.Fatalf("newest row %+v (%v), want log_seq %d", list, err, total)
		}
	})
}

// TestPatience: a commit that does not come is given up after a second.
func TestPatience(t *testing.T) {
	url := storetest.Postgres(t)
	s := storetest.Open(t, url)
	if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	tx, err := storetest.DB(t, url).Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`SELECT 1 FROM tenant_head WHERE tenant_id = 'acme' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			started := time.Now()
			r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]
			if took := time.Since(started); !errors.Is(r.Err, engine.ErrUnavailable) || took > 1300*time.Millisecond || took < 900*time.Millisecond {
				t.Errorf("%v after %v", r.Err, took)
			}
		})
	}
	wg.Wait()
	tx.Rollback()
	eventually(t, "the lock is free", func() bool {
		return s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0].Err == nil
	})
	storetest.CheckLog(t, url, nil)
}

// TestHealthOfAFrozenServer: nobody waits for it.
func TestHealthOfAFrozenServer(t *testing.T) {
	c := storetest.NewCluster(t)
	s := storetest.Open(t, c.Database(t))
	if !s.Health(t.Context()).Writable {
		t.Fatal("not writable at the start")
	}
	thaw := c.Freeze(t)
	var wg sync.WaitGroup
	for range 40 { // more than there are connections
		wg.Go(func() {
			started := time.Now()
			h := s.Health(t.Context())
			if took := time.Since(started); h.Writable || took > time.Second {
				t.Errorf("writable %v after %v", h.Writable, took)
			}
		})
	}
	wg.Wait()
	thaw()
	eventually(t, "writable again", func() bool { return s.Health(t.Context()).Writable })
}
