package server

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// maxClockSkew is how far our clock and the database's may be apart: decided_at
// comes from ours, and an auditor compares it with theirs.
const maxClockSkew = time.Second

// readyPatience is how long a database may take to show that it can be written.
const readyPatience = 900 * time.Millisecond

func (s *server) healthz(c *gin.Context) error {
	s.answer(c, http.StatusOK, map[string]string{"status": "up"})
	return nil
}

func (s *server) readyz(c *gin.Context) error {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyPatience)
	defer cancel()
	h := s.store.Health(ctx)
	id := s.gate.PolicyID()
	a := struct {
		Ready       bool   `json:"ready"`
		Detail      string `json:"detail,omitempty"`
		Writable    bool   `json:"database_writable"`
		ClockSkewMS int64  `json:"clock_skew_ms"`
		EpochLag    int64  `json:"epoch_lag"`
		Revision    string `json:"revision"`
		BundleHash  string `json:"bundle_hash"`
		Checkpoints any    `json:"checkpoints,omitempty"` // where they are signed
	}{Writable: h.Writable, ClockSkewMS: h.ClockSkew.Milliseconds(), EpochLag: h.EpochLag, Revision: id.Revision, BundleHash: id.BundleHash}
	if s.notary != nil {
		// None of this makes the gate unready: it decides, and held tenants are stopped.
		a.Checkpoints = struct {
			TenantsHeld int    `json:"tenants_held"`
			Fault       string `json:"fault,omitempty"`
		}{s.notary.Held(), s.notary.Failing()}
	}
	switch {
	case !h.Writable:
		a.Detail = "the database cannot be written"
	case h.ClockSkew.Abs() > maxClockSkew:
		a.Detail = "the clock is more than 1 s off the database's"
	case s.rollout != nil && s.rollout.Ready() != nil:
		a.Detail = "another bundle is active than the one that this gate runs, so it can decide nothing; its log says why"
	case id.BundleHash == "":
		a.Detail = "no bundle is active"
	}
	a.Ready = a.Detail == ""
	status := http.StatusOK
	if !a.Ready {
		status = http.StatusServiceUnavailable
	}
	s.answer(c, status, a)
	return nil
}
