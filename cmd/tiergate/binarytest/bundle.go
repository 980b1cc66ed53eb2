package binarytest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
)

// Upload makes the request that uploads a bundle archive.
func (g *Gate) Upload(archive []byte, token, reason string) (int, []byte, error) {
	req, err := http.NewRequest("POST", g.URL+"/api/v1/remediation/bundles?reason="+url.QueryEscape(reason), bytes.NewReader(archive))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/gzip")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}
