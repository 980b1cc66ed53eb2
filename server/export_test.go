package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/store"
)

// exporting is how cmd wires it.
func exporting(o *Options) {
	s := o.Store.(*store.Store)
	o.Exporter = func(ctx context.Context, w io.Writer, tenant string, from, to time.Time) error {
		_, err := evidence.Write(ctx, w, s.Reader(ctx), evidence.Options{Window: evidence.Window{Tenant: tenant, From: from, To: to}, Generator: "test"})
		if errors.Is(err, evidence.ErrNoTree) {
			return ErrNothing
		}
		return err
	}
}

func TestExport(t *testing.T) {
	r := newRig(t, exporting)
	r.must(200, "acme-agent", "POST", base+"/decisions", `{"action_type":"block_ip","target":"203.0.113.9"}`)
	r.must(200, "globex-all", "POST", base+"/decisions", `{"action_type":"block_ip","target":"203.0.113.9"}`)
	got := r.must(200, "acme-auditor", "GET", exports+"?to=2999-01-01T00:00:00Z", "")
	file := []byte(got.raw)
	f, err := evidence.Open(t.Context(), bytes.NewReader(file), int64(len(file)))
	if err != nil || f.Tenant != "acme" || f.TreeSize < 2 || got.header.Get("Content-Type") != "application/zip" ||
		got.header.Get("Content-Disposition") != `attachment; filename="acme-evidence.zip"` || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %+v %v", err, f, got.header)
	}
	if strings.Contains(got.raw, "globex") {
		t.Error("another tenant's evidence")
	}
	r.must(403, "acme-agent", "GET", exports, "")
	r.must(403, "acme-operator", "GET", exports, "")
	r.must(401, "nobody", "GET", exports, "")
	r.must(404, "any-auditor", "GET", exports, "", "X-Tenant-ID", "nothing-here")
	r.must(404, "acme-auditor", "GET", exports, "", "X-Tenant-ID", "globex")
	for _, query := range []string{"?from=x", "?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "?tenant=globex", "?from=2026-02-01T00:00:00Z&from=2026-02-01T00:00:00Z", "?to="} {
		r.must(400, "acme-auditor", "GET", exports+query, "")
	}
}

// An export that fails on its way is a connection cut, never a shorter file; and
// no more than some are made at a time.
func TestExportCutOff(t *testing.T) {
	begun, fail := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(o *Options) {
		o.Exporter = func(_ context.Context, w io.Writer, _ string, _, _ time.Time) error {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
			begun <- struct{}{}
			<-fail
			return errors.New("the database is gone")
		}
	})
	srv := httptest.NewServer(r.handler)
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	done := make(chan error, maxExports)
	for range maxExports {
		go func() {
			req, _ := http.NewRequest("GET", srv.URL+exports, nil)
			req.Header.Set("Authorization", "Bearer acme-auditor")
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			done <- err
		}()
	}
	for range maxExports {
		<-begun
	}
	if got := r.must(503, "acme-auditor", "GET", exports, ""); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(fail)
	for range maxExports {
		if err := <-done; err == nil {
			t.Error("a part was taken for the whole")
		}
	}
}
