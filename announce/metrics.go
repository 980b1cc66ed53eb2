package announce

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/engine"
)

// How the house is kept.
const (
	backlogEvery = 15 * time.Second // as often as most scrape
	purgeAfter   = time.Minute      // not with all that a start does
	purgeEvery   = time.Hour
	keepFor      = 30 * 24 * time.Hour // what was delivered; the decision itself stays in the gate log
)

// metrics has no label that somebody can fill: no tenant, channel or URL.
type metrics struct {
	results *prometheus.CounterVec
	seconds prometheus.Histogram
	pending prometheus.Gauge
	dead    prometheus.Gauge
	oldest  prometheus.Gauge
}

func newMetrics(to prometheus.Registerer, resting func() int) (*metrics, error) {
	m := &metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiergate_announcements_total", Help: "Announcements sent from here, by format and by what came of it: delivered, failed (to be tried again) or dead (given up).",
		}, []string{"format", "result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tiergate_announcement_seconds", Help: "Time from when an announcement was made, or replayed, until its receiver had it.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600},
		}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tiergate_announcements_pending", Help: "Announcements of the whole deployment that are to be sent."}),
		dead:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "tiergate_announcements_dead", Help: "Announcements of the whole deployment that were given up."}),
		oldest:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "tiergate_announcements_oldest_seconds", Help: "Age of the oldest announcement that is to be sent, 0 where there is none."}),
	}
	for _, f := range engine.ChannelFormats {
		for _, r := range []string{"delivered", "failed", "dead"} {
			m.results.WithLabelValues(string(f), r)
		}
	}
	if to == nil {
		return m, nil
	}
	all := []prometheus.Collector{
		m.results, m.seconds, m.pending, m.dead, m.oldest,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tiergate_announcement_channels_resting", Help: "Channels that failed last, as this gate knows them.",
		}, func() float64 { return float64(resting()) }),
	}
	for i, c := range all {
		if err := to.Register(c); err != nil {
			for _, c := range all[:i] {
				to.Unregister(c)
			}
			return nil, fmt.Errorf("metrics of announcements: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(f engine.ChannelFormat, result string) {
	m.results.WithLabelValues(string(f), result).Inc()
}

func (m *metrics) arrived(f engine.ChannelFormat, after time.Duration) {
	m.count(f, "delivered")
	m.seconds.Observe(max(after, 0).Seconds())
}

// keepHouse refreshes the gauges and purges, until ctx ends.
func (d *Dispatcher) keepHouse(ctx context.Context) {
	backlog := time.NewTicker(d.knobs.backlogEvery)
	defer backlog.Stop()
	purge := time.NewTimer(d.knobs.purgeAfter)
	defer purge.Stop()
	d.safely(ctx, "count announcements", d.count)
	for {
		select {
		case <-ctx.Done():
			return
		case <-backlog.C:
			d.safely(ctx, "count announcements", d.count)
			d.forget()
		case <-purge.C:
			d.safely(ctx, "purge announcements", d.purge)
			purge.Reset(d.knobs.purgeEvery)
		}
	}
}

// safely does something now and then that may fail now and then.
func (d *Dispatcher) safely(ctx context.Context, what string, do func(context.Context) error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("could not "+what, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	if err := do(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		d.log.Warn("could not "+what, "error", err)
	}
}

func (d *Dispatcher) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	pending, dead, oldest, err := d.o.Outbox.Backlog(ctx)
	if err != nil {
		return err
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(d.now().Sub(oldest), 0).Seconds()
	}
	d.metrics.pending.Set(float64(pending))
	d.metrics.dead.Set(float64(dead))
	d.metrics.oldest.Set(age)
	return nil
}

// purge removes page by page, and leaves others room in between.
func (d *Dispatcher) purge(ctx context.Context) error {
	before := d.now().Add(-keepFor)
	for {
		page, cancel := context.WithTimeout(ctx, outboxTimeout)
		n, err := d.o.Outbox.Purge(page, before)
		cancel()
		if err != nil || n == 0 || !pause(ctx, d.knobs.gather) {
			return err
		}
	}
}
