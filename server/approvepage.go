package server

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// The page that messages about a waiting action link to. It is the same bytes
// for everybody: which approval it is about stands behind the # of the link,
// which browsers send nowhere, and the person's token goes into the header of
// the requests that its script makes to the API. So there is no cookie, nothing
// that another site could make a browser send, and no secret in a log.

//go:embed approve.html
var approveHTML string

//go:embed approve.css
var approveCSS string

//go:embed approve.js
var approveJS string

type staticPage struct {
	body   []byte
	policy string // its Content-Security-Policy
}

// approveDocument is the page in one piece, and a policy under which a browser
// runs these bytes and no others: style and script are named by their hashes,
// so not even another answer of the gate could pass for one of them.
var approveDocument = sync.OnceValue(func() staticPage {
	body := strings.NewReplacer("/*style*/", approveCSS, "/*script*/", approveJS).Replace(approveHTML)
	return staticPage{[]byte(body), strings.Join([]string{
		"default-src 'none'",
		"script-src " + hashSource(approveJS),
		"style-src " + hashSource(approveCSS),
		"connect-src 'self'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"base-uri 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")}
})

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// approvePage asks; it changes nothing and reads nothing. A query is refused,
// because what stands there would be in every log on the way.
func (s *server) approvePage(c *gin.Context) error {
	if c.Request.URL.RawQuery != "" {
		return badField("", "the page takes no query: tenant and id of an approval stand behind the # of its link")
	}
	page := approveDocument()
	neverKeep(c)
	c.Header("Content-Security-Policy", page.policy)
	c.Header("X-Frame-Options", "DENY") // for browsers without frame-ancestors
	c.Header("Referrer-Policy", "no-referrer")
	c.Header("Cross-Origin-Opener-Policy", "same-origin")
	c.Header("Cross-Origin-Resource-Policy", "same-origin")
	c.Header("Permissions-Policy", "camera=(), clipboard-read=(), display-capture=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=(), usb=()")
	c.Data(http.StatusOK, "text/html; charset=utf-8", page.body)
	return nil
}
