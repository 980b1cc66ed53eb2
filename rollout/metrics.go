package rollout

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/engine"
)

// metrics are what the rollout counts.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector
	takeovers  prometheus.Counter
	shadow     *prometheus.CounterVec
	skipped    prometheus.Counter
	diverged   *prometheus.CounterVec
}

func newMetrics(r *Rollout, to prometheus.Registerer) (*metrics, error) {
	m := &metrics{registerer: to, takeovers: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tiergate_policy_takeovers_total", Help: "How often this gate went over to another active bundle.",
	}), shadow: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tiergate_shadow_evaluations_total", Help: "Decisions that a shadow has judged, by whether it agrees, diverges or fails.",
	}, []string{"result"}), skipped: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tiergate_shadow_skipped_total", Help: "Decisions that a shadow did not judge because that would have cost too much.",
	}), diverged: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tiergate_shadow_divergences_total", Help: "Decisions that a shadow would have made otherwise, by what was decided and what it would have decided.",
	}, []string{"active", "shadow"})}
	m.all = []prometheus.Collector{
		m.takeovers, m.shadow, m.skipped, m.diverged,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tiergate_policy_epoch", Help: "Epoch of the bundle that decides here."}, func() float64 {
			_, epoch := r.Policy()
			return float64(epoch)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tiergate_policy_behind", Help: "1 while this gate cannot go over to the active bundle."}, func() float64 {
			if r.Ready() != nil {
				return 1
			}
			return 0
		}),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range m.all {
		if err := to.Register(c); err != nil {
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

// Evaluated counts a decision that a shadow has judged.
func (m *metrics) Evaluated(active, shadow engine.Decision, agrees bool) {
	if agrees {
		m.shadow.WithLabelValues("agrees").Inc()
		return
	}
	m.shadow.WithLabelValues("diverges").Inc()
	m.diverged.WithLabelValues(active.String(), shadow.String()).Inc()
}

// Failed counts a decision on which a shadow gave no usable verdict.
func (m *metrics) Failed() { m.shadow.WithLabelValues("fails").Inc() }

// Skipped counts a decision that a shadow did not judge.
func (m *metrics) Skipped() { m.skipped.Inc() }
