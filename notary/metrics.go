package notary

import "github.com/prometheus/client_golang/prometheus"

// metrics are what the notary counts.
type metrics struct {
	signed prometheus.Counter
	failed *prometheus.CounterVec
}

func newMetrics(n *Notary, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		signed: prometheus.NewCounter(prometheus.CounterOpts{Name: "tiergate_checkpoints_total", Help: "Checkpoints that were signed."}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiergate_checkpoint_failures_total", Help: "Attempts that failed to make checkpoints (database) or to bring one outside (folder, push).",
		}, []string{"to"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.signed, m.failed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tiergate_tenants_held", Help: "Tenants that are stopped because their log is not the one that was signed."},
			func() float64 { return float64(n.Held()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tiergate_checkpoints_waiting", Help: "Checkpoints that wait to be brought outside, one for each tenant and place."},
			func() float64 {
				waiting := 0
				for _, o := range n.outlets {
					waiting += o.waiting()
				}
				return float64(waiting)
			}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
