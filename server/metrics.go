package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tiergate/tiergate/engine"
)

// metrics has no label that a caller can fill: no tenant, no target, no path
// that is not a route.
type metrics struct {
	handler   http.Handler
	requests  *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	approvals *prometheus.CounterVec
	problems  *prometheus.CounterVec
	policy    prometheus.Counter
	panics    prometheus.Counter
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		handler: promhttp.HandlerFor(r, promhttp.HandlerOpts{}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tiergate_http_request_duration_seconds", Help: "Time to answer, by route, method and status.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"route", "method", "status"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiergate_decisions_total", Help: "Decisions answered, by decision, rule and blast radius.",
		}, []string{"decision", "rule", "blast_radius"}),
		approvals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiergate_approval_steps_total", Help: "Votes and withdrawals that counted, by where the approval stood after it.",
		}, []string{"status"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiergate_problems_total", Help: "Errors answered, by problem type; those inside a batch too.",
		}, []string{"type"}),
		policy: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tiergate_policy_errors_total", Help: "Requests to which the policy gave no usable decision.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tiergate_http_panics_total", Help: "Handlers that panicked; each was answered with 500.",
		}),
	}
	r.MustRegister(m.requests, m.decisions, m.approvals, m.problems, m.policy, m.panics)
	return m
}

func (m *metrics) decided(e *engine.Entry) {
	m.decisions.WithLabelValues(e.Decision.String(), e.Rule, e.BlastRadius.String()).Inc()
}

func (s *server) measure(c *gin.Context) {
	start := time.Now()
	c.Next()
	route := c.FullPath()
	if route == "" {
		route = "none"
	}
	method := c.Request.Method
	switch method {
	case "GET", "POST", "PUT", "DELETE":
	default:
		method = "other"
	}
	s.metrics.requests.WithLabelValues(route, method, strconv.Itoa(c.Writer.Status())).Observe(time.Since(start).Seconds())
}

func (s *server) serveMetrics(c *gin.Context) error {
	s.metrics.handler.ServeHTTP(c.Writer, c.Request)
	return nil
}
