package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

const (
	apiBase = "/api/v1/remediation"
	token   = "bench"
	never   = "2099-01-01T00:00:00.000Z" // the corpus has expiries that pass
)

// corpusDoc is what of a corpus document becomes a request and configuration.
type corpusDoc struct {
	Request struct {
		ActionType string          `json:"action_type"`
		Target     string          `json:"target"`
		Actor      string          `json:"actor"`
		Confidence json.RawMessage `json:"confidence,omitempty"`
	} `json:"request"`
	Tenant struct {
		Tier int `json:"maturity_tier"`
	} `json:"tenant"`
	Overrides []struct {
		Mode        string          `json:"mode"`
		Constraints json.RawMessage `json:"constraints"`
		ExpiresAt   *string         `json:"expires_at"`
	} `json:"overrides"`
	Whitelist []struct {
		ActionType  string          `json:"action_type"`
		Constraints json.RawMessage `json:"constraints"`
	} `json:"whitelist"`
}

// tenants turns the corpus's documents, each with its own facts, into tenants
// that are configured so through the API and requests for them: one tenant for
// each tier, one for each pair of tier and override, one with the whitelist.
// The requests are whole HTTP requests in the corpus's order.
func tenants(docs [][]byte) (map[string]*tenantConfig, [][]byte, error) {
	all := map[string]*tenantConfig{}
	var requests [][]byte
	kinds := []string{} // of overrides, by their text
	for _, raw := range docs {
		var d corpusDoc
		if err := json.Unmarshal(raw, &d); err != nil {
			return nil, nil, err
		}
		name := fmt.Sprintf("tier-%d", d.Tenant.Tier)
		switch {
		case len(d.Overrides) > 1 || len(d.Overrides) > 0 && len(d.Whitelist) > 0:
			return nil, nil, fmt.Errorf("a document with more than one override or kind of fact has no tenant: %s", raw)
		case len(d.Overrides) == 1:
			kind := d.Overrides[0].Mode + string(d.Overrides[0].Constraints)
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
			name = fmt.Sprintf("override-%d-tier-%d", slices.Index(kinds, kind), d.Tenant.Tier)
		case len(d.Whitelist) > 0:
			name = "whitelist"
		}
		t := all[name]
		if t == nil {
			t = &tenantConfig{tier: d.Tenant.Tier, overrides: map[string]any{}}
			all[name] = t
		}
		if t.tier != d.Tenant.Tier {
			return nil, nil, fmt.Errorf("tenant %s would need two tiers", name)
		}
		for _, o := range d.Overrides {
			if o.ExpiresAt != nil {
				*o.ExpiresAt = never
			}
			t.overrides[d.Request.ActionType] = map[string]any{o.Mode: map[string]any{"constraints": o.Constraints, "expires_at": o.ExpiresAt}}
		}
		for _, w := range d.Whitelist {
			body, err := json.Marshal(map[string]any{"action_type": w.ActionType, "constraints": w.Constraints, "expires_at": never, "reason": "bench"})
			if err != nil {
				return nil, nil, err
			}
			if !slices.Contains(t.whitelist, string(body)) {
				t.whitelist = append(t.whitelist, string(body))
			}
		}
		body, err := json.Marshal(d.Request)
		if err != nil {
			return nil, nil, err
		}
		requests = append(requests, httpRequest(apiBase+"/decisions", body, "Authorization: Bearer "+token, "X-Tenant-ID: "+name))
	}
	return all, requests, nil
}

// tenantConfig is what is set up for one tenant.
type tenantConfig struct {
	tier      int
	overrides map[string]any
	whitelist []string // bodies of POST /whitelist
}

func (t *tenantConfig) apply(addr, name string) error {
	body, err := json.Marshal(map[string]any{"maturity_tier": t.tier, "action_overrides": t.overrides, "reason": "bench"})
	if err != nil {
		return err
	}
	if err := configure(addr, name, http.MethodPut, "/config", string(body)); err != nil {
		return err
	}
	for _, w := range t.whitelist {
		if err := configure(addr, name, http.MethodPost, "/whitelist", w); err != nil {
			return err
		}
	}
	return nil
}

func configure(addr, tenant, method, path, body string) error {
	req, err := http.NewRequest(method, "http://"+addr+apiBase+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Tenant-ID", tenant)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s of %s: %s: %s", method, path, tenant, resp.Status, text)
	}
	return err
}
