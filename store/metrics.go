package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the store counts.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	rows    prometheus.Histogram
	seconds prometheus.Histogram
	failed  prometheus.Counter
	applied prometheus.Counter
}

func newMetrics(s *Store, r prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value)
	}
	m := &metrics{
		registerer: r,
		rows: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tiergate_append_rows", Help: "Entries per transaction of the gate log.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tiergate_append_seconds", Help: "Duration of a transaction of the gate log.", Buckets: prometheus.ExponentialBuckets(0.00025, 2, 14),
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tiergate_append_failed_total", Help: "Entries that were not written, or of which it is unknown.",
		}),
		applied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tiergate_config_changes_applied_total", Help: "Changes of configuration taken over into memory.",
		}),
	}
	const unsound = "Stored whitelist entries and overrides that cannot be read or have a constraint that would be refused today."
	m.all = []prometheus.Collector{
		m.rows, m.seconds, m.failed, m.applied,
		gauge("tiergate_append_queue_length", "Entries that wait for a transaction.", nil, func() float64 { return float64(s.queue.length()) }),
		gauge("tiergate_approval_waiters", "Requests that wait for an approval to end.", nil, func() float64 { return float64(s.hub.waiters()) }),
		gauge("tiergate_unsound_entries", unsound, prometheus.Labels{"kind": "whitelist"}, func() float64 { return float64(s.view.unsound.Load()) }),
		gauge("tiergate_unsound_entries", unsound, prometheus.Labels{"kind": "override"}, func() float64 { return float64(s.view.unsoundO.Load()) }),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range m.all {
		if err := r.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) batch(rows int, took time.Duration) {
	m.rows.Observe(float64(rows))
	m.seconds.Observe(took.Seconds())
}
