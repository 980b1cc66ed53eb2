package rollout

import "github.com/prometheus/client_golang/prometheus"

// metrics are what the rollout counts.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector
	takeovers  prometheus.Counter
}

func newMetrics(r *Rollout, to prometheus.Registerer) (*metrics, error) {
	m := &metrics{registerer: to, takeovers: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tiergate_policy_takeovers_total", Help: "How often this gate went over to another active bundle.",
	})}
	m.all = []prometheus.Collector{
		m.takeovers,
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
