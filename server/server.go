package server

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/singleflight"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/receipt"
	"github.com/tiergate/tiergate/rollout"
)

// Gate answers questions. *engine.Gate is one.
type Gate interface {
	Decide(ctx context.Context, r *engine.Request) (*engine.Entry, error)
	DecideBatch(ctx context.Context, rs []*engine.Request) []engine.Outcome
	Preview(ctx context.Context, r *engine.Request, w engine.WhatIf) (*engine.Entry, error)
	Matrix(ctx context.Context, tenant string) ([]engine.MatrixRow, error)
	StillAuto(ctx context.Context, tenant string) ([]string, error)
	Vote(ctx context.Context, v engine.Vote) (*engine.Approval, error)
	Cancel(ctx context.Context, tenant, approvalID, person, principal, reason string) (*engine.Approval, error)
	Actions() []engine.Action
	PolicyID() engine.PolicyID
}

// Store keeps configuration and log. *store.Store is one.
type Store interface {
	Config(ctx context.Context, tenant string) (engine.Config, error)
	ChangeConfig(ctx context.Context, tenant string, change engine.ConfigChange, meta engine.ChangeMeta) (engine.Config, error)
	PutOverride(ctx context.Context, o *engine.Override, meta engine.ChangeMeta) (engine.Config, error)
	DeleteOverride(ctx context.Context, tenant, actionType string, mode engine.Mode, meta engine.ChangeMeta) error
	Whitelist(ctx context.Context, tenant, actionType, afterID string, limit int) ([]*engine.WhitelistEntry, error)
	AddWhitelist(ctx context.Context, w engine.WhitelistEntry, meta engine.ChangeMeta) (*engine.WhitelistEntry, error)
	DeleteWhitelist(ctx context.Context, tenant, id string, meta engine.ChangeMeta) error
	SetStopped(ctx context.Context, tenant string, stopped bool, meta engine.ChangeMeta) (engine.Config, error)
	History(ctx context.Context, tenant string, q engine.HistoryQuery) ([]engine.Change, error)
	Entry(ctx context.Context, tenant, decisionID string) (*engine.Entry, error)
	Entries(ctx context.Context, tenant string, q engine.LogQuery) ([]*engine.Entry, error)
	Summary(ctx context.Context, tenant string, from, to time.Time) ([]engine.SummaryRow, error)
	Approvals(ctx context.Context, tenant string, q engine.ApprovalQuery) ([]*engine.Approval, error)
	Approval(ctx context.Context, tenant, id string) (*engine.Approval, error)
	ApprovalState(ctx context.Context, tenant, id string) (*engine.Approval, error)
	Watch(tenant, approvalID string) (ended <-chan *engine.Approval, stop func())
	AddOutcome(ctx context.Context, o engine.DecisionOutcome) (_ *engine.DecisionOutcome, added bool, err error)
	Outcomes(ctx context.Context, tenant, decisionID string) ([]*engine.DecisionOutcome, error)
	SetChannel(ctx context.Context, key engine.ChannelKey, meta engine.ChangeMeta,
		make func(old *engine.Channel, secrets *engine.ChannelSecrets, now time.Time) (engine.Channel, engine.ChannelSecrets, error)) (*engine.Channel, error)
	RemoveChannel(ctx context.Context, key engine.ChannelKey, meta engine.ChangeMeta) error
	Channels(ctx context.Context, tenant, afterName string, limit int) ([]*engine.Channel, error)
	Channel(ctx context.Context, key engine.ChannelKey) (*engine.Channel, error)
	TestChannel(ctx context.Context, key engine.ChannelKey) (*engine.Announcement, error)
	Announcements(ctx context.Context, tenant string, q engine.AnnouncementQuery) ([]*engine.Announcement, error)
	Announcement(ctx context.Context, tenant, id string) (*engine.Announcement, error)
	ReplayAnnouncements(ctx context.Context, tenant, channel, id, actor string) (n int64, err error)
	DiscardAnnouncement(ctx context.Context, tenant, id string) (gone bool, err error)
	Checkpoint(ctx context.Context, tenant string) (engine.Checkpoint, error)
	LeafOf(ctx context.Context, tenant string, seq int64) (engine.Leaf, error)
	Leaf(ctx context.Context, tenant string, index int64) (tlog.Hash, error)
	TreeRoot(ctx context.Context, tenant string, size int64) (tlog.Hash, error)
	TreeProof(ctx context.Context, tenant string, leaf, size int64) (tlog.RecordProof, error)
	TreeConsistency(ctx context.Context, tenant string, from, to int64) (tlog.TreeProof, error)
	Health(ctx context.Context) engine.Health
}

// Rollout knows which policy decides and changes it. *rollout.Rollout is one and
// says what each method promises.
type Rollout interface {
	Upload(ctx context.Context, archive []byte, meta engine.ChangeMeta) (b rollout.Bundle, added bool, err error)
	Bundles(ctx context.Context, before int64, limit int) ([]rollout.Bundle, error)
	Bundle(ctx context.Context, hash string) (rollout.Bundle, error)
	Archive(ctx context.Context, hash string) ([]byte, error)
	Activate(ctx context.Context, hash string, meta engine.ChangeMeta) (rollout.Bundle, error)
	Rollback(ctx context.Context, hash string, meta engine.ChangeMeta) (rollout.Bundle, error)
	StartShadow(ctx context.Context, hash string, meta engine.ChangeMeta) (rollout.Bundle, error)
	StopShadow(ctx context.Context, hash string, meta engine.ChangeMeta) (rollout.Bundle, error)
	Shadow(ctx context.Context, hash string) (engine.ShadowReport, error)
	History(ctx context.Context, q engine.PolicyHistoryQuery) ([]engine.PolicyChange, error)
	Ready() error
}

// Notary signs the tenants' trees. *notary.Notary is one.
type Notary interface {
	// Held is how many tenants are stopped because their log is not the one that
	// was signed.
	Held() int
	// Failing says what keeps checkpoints from getting outside, "" for nothing.
	Failing() string
}

// Announcer sends announcements. *announce.Dispatcher is one.
type Announcer interface {
	// Wake ends the rest of a channel that failed: somebody has looked after it.
	Wake(engine.ChannelKey)
}

// Options is what a server is made of. Gate, Store and Tokens are required.
type Options struct {
	Gate      Gate
	Store     Store
	Rollout   Rollout // nil: the policy never changes, and nothing stands under /bundles
	Tokens    *Tokens
	Dev       bool                 // answer only to loopback names in Host
	Allow     []netip.Prefix       // private addresses that announcements may go to
	Announcer Announcer            // nil: nobody is woken
	Notary    Notary               // nil: nothing is signed
	Receipts  *receipt.Signer      // nil: answers have no receipts
	Keys      []ed25519.PublicKey  // of receipts, present and past
	Exporter  Exporter             // nil: nothing is exported
	Logger    *slog.Logger         // default slog.Default
	Registry  *prometheus.Registry // served at /metrics; default a new one
	Now       func() time.Time     // default time.Now
}

type server struct {
	gate    Gate
	store   Store
	rollout Rollout
	tokens  *Tokens
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time
	allow   []netip.Prefix
	sender  Announcer
	notary  Notary

	receipts  *receipt.Signer
	keys      []ed25519.PublicKey
	exporter  Exporter
	exporting chan struct{}

	endedReads singleflight.Group
}

// base is the path below which everything about decisions lies.
const base = "/api/v1/remediation"

// waits is the route that may be asked to wait.
const waits = base + "/decisions/:decision_id"

// route is one row of the API: who may do what.
type route struct {
	method, path string
	roles        []Role // nil: open to all
	handle       func(*server, *gin.Context) error
}

var (
	ask     = []Role{Agent, Operator}
	askRead = []Role{Agent, Operator, Auditor, Approver}
	dial    = []Role{Operator}
	dialGet = []Role{Operator, Auditor}
	read    = []Role{Auditor}

	// Who may vote is the policy's to say; this is who may try.
	votes        = []Role{Approver, Operator}
	approvalRead = []Role{Approver, Operator, Auditor}

	change     = []Role{PolicyAdmin}
	changeGet  = []Role{Operator, Auditor, PolicyAdmin}
	changeRead = []Role{Auditor, PolicyAdmin} // of all tenants, see allTenants
)

var routes = []route{
	{"GET", "/healthz", nil, (*server).healthz},
	{"GET", "/readyz", nil, (*server).readyz},
	{"GET", "/metrics", nil, (*server).serveMetrics},
	{"GET", "/openapi.json", nil, (*server).openapi},
	{"GET", "/approve", nil, (*server).approvePage},
	{"GET", "/.well-known/jwks.json", nil, (*server).keySet},

	{"POST", base + "/decisions", ask, (*server).decide},
	{"POST", base + "/decisions/batch", ask, (*server).decideBatch},
	{"POST", base + "/decisions/preview", ask, (*server).preview},
	{"GET", waits, askRead, (*server).decision},
	{"POST", base + "/decisions/:decision_id/outcome", ask, (*server).reportOutcome},
	{"GET", base + "/approvals", approvalRead, (*server).approvals},
	{"GET", base + "/approvals/:approval_id", approvalRead, (*server).approval},
	{"POST", base + "/approvals/:approval_id/approve", votes, (*server).approve},
	{"POST", base + "/approvals/:approval_id/deny", votes, (*server).deny},
	{"POST", base + "/approvals/:approval_id/cancel", ask, (*server).cancelApproval},
	{"GET", base + "/actions", askRead, (*server).actions},
	{"GET", base + "/matrix", askRead, (*server).matrix},

	{"GET", base + "/config", dialGet, (*server).config},
	{"PUT", base + "/config", dial, (*server).putConfig},
	{"GET", base + "/config/history", dialGet, (*server).history},
	{"PUT", base + "/overrides/:action_type", dial, (*server).putOverride},
	{"DELETE", base + "/overrides/:action_type", dial, (*server).deleteOverride},
	{"GET", base + "/whitelist", dialGet, (*server).whitelist},
	{"POST", base + "/whitelist", dial, (*server).addWhitelist},
	{"DELETE", base + "/whitelist/:id", dial, (*server).deleteWhitelist},
	{"POST", base + "/stop", dial, (*server).stop},
	{"POST", base + "/release", dial, (*server).release},

	{"GET", base + "/channels", dialGet, (*server).channels},
	{"GET", base + "/channels/:channel", dialGet, (*server).channel},
	{"PUT", base + "/channels/:channel", dial, (*server).putChannel},
	{"DELETE", base + "/channels/:channel", dial, (*server).deleteChannel},
	{"POST", base + "/channels/:channel/test", dial, (*server).testChannel},
	{"POST", base + "/channels/:channel/replay", dial, (*server).replayChannel},
	{"GET", base + "/announcements", dialGet, (*server).announcements},
	{"GET", base + "/announcements/:announcement_id", dialGet, (*server).announcement},
	{"DELETE", base + "/announcements/:announcement_id", dial, (*server).discardAnnouncement},
	{"POST", base + "/announcements/:announcement_id/replay", dial, (*server).replayAnnouncement},

	{"POST", base + "/bundles", change, (*server).uploadBundle},
	{"GET", base + "/bundles", changeGet, (*server).bundles},
	{"GET", base + "/bundles/history", changeGet, (*server).policyHistory},
	{"GET", base + "/bundles/:bundle_hash", changeGet, (*server).bundle},
	{"POST", base + "/bundles/:bundle_hash/activate", change, (*server).activate},
	{"POST", base + "/bundles/:bundle_hash/rollback", change, (*server).rollback},
	{"POST", base + "/bundles/:bundle_hash/shadow", change, (*server).startShadow},
	{"GET", base + "/bundles/:bundle_hash/shadow", changeRead, (*server).shadow},
	{"DELETE", base + "/bundles/:bundle_hash/shadow", change, (*server).stopShadow},

	{"GET", base + "/gate-log", read, (*server).gateLog},
	{"GET", base + "/gate-log/summary", read, (*server).summary},

	{"GET", exports, read, (*server).export},
	{"GET", base + "/log/checkpoint", read, (*server).checkpoint},
	{"GET", base + "/log/proof", read, (*server).inclusionProof},
	{"GET", base + "/log/consistency", read, (*server).consistencyProof},
}

// New returns the gate's HTTP handler.
func New(o Options) http.Handler { return newEngine(o) }

func newEngine(o Options) *gin.Engine {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &server{gate: o.Gate, store: o.Store, rollout: o.Rollout, tokens: o.Tokens, logger: o.Logger, metrics: newMetrics(o.Registry), now: o.Now, allow: o.Allow, sender: o.Announcer, notary: o.Notary, receipts: o.Receipts, keys: o.Keys, exporter: o.Exporter, exporting: make(chan struct{}, maxExports)}
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	_ = g.SetTrustedProxies(nil)
	g.HandleMethodNotAllowed = true
	g.RedirectTrailingSlash = false
	g.Use(s.measure, s.recoverPanic)
	if o.Dev {
		g.Use(s.loopbackHost)
	}
	g.NoRoute(func(c *gin.Context) { s.fail(c, notFound("No such path. /openapi.json lists them.")) })
	g.NoMethod(func(c *gin.Context) {
		s.fail(c, problem(http.StatusMethodNotAllowed, "method_not_allowed", "This path does not take that method", "/openapi.json lists the methods of each path."))
	})
	for _, r := range routes {
		handlers := []gin.HandlerFunc{}
		if r.roles != nil {
			handlers = append(handlers, s.authenticate(r.roles))
		}
		g.Handle(r.method, r.path, append(handlers, s.handler(r))...)
	}
	return g
}

// readPatience is how long a read may keep the database busy. What writes has
// the store's own, shorter patience.
const readPatience = 10 * time.Second

func (s *server) handler(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		// A long poll bounds its reads itself, and an export reads in short queries.
		if r.method == http.MethodGet && r.path != waits && r.path != exports {
			ctx, cancel := context.WithTimeout(c.Request.Context(), readPatience)
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
		}
		if err := r.handle(s, c); err != nil {
			s.fail(c, err)
		}
	}
}

// recoverPanic turns a panic into a 500 that leaks nothing.
func (s *server) recoverPanic(c *gin.Context) {
	defer func() {
		if r := recover(); r != nil {
			if r == http.ErrAbortHandler {
				panic(r) // net/http's own way to cut a connection
			}
			s.metrics.panics.Inc()
			s.logger.Error("a handler panicked", "panic", fmt.Sprint(r), "route", c.FullPath(), "stack", string(debug.Stack()))
			s.fail(c, fmt.Errorf("panic in %s", c.FullPath()))
		}
	}()
	c.Next()
}

// HTTPServer wraps a handler with the limits that a public port needs.
func HTTPServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr: addr, Handler: h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}
