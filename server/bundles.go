package server

import (
	"errors"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/rollout"
)

// maxArchive is the most of a bundle archive that is read.
const maxArchive = 16 << 20

// archiveTypes are what the bytes of a bundle may be called. The first is what
// they are called in answers.
var archiveTypes = []string{"application/gzip", "application/vnd.openpolicyagent.bundles", "application/x-gzip"}

var bundleHash = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

type proofAnswer struct {
	State  string         `json:"state"`
	At     *string        `json:"at"`
	Detail string         `json:"detail,omitempty"`
	Report jsontext.Value `json:"report,omitempty"`
}

type bundleAnswer struct {
	BundleHash  string      `json:"bundle_hash"`
	Revision    string      `json:"revision"`
	Active      bool        `json:"active"`
	WasActive   bool        `json:"was_active"`
	Shadow      bool        `json:"shadow"`
	Proof       proofAnswer `json:"proof"`
	UploadedBy  string      `json:"uploaded_by"`
	UploadedAt  string      `json:"uploaded_at"`
	PolicyEpoch int64       `json:"policy_epoch"`
}

func bundleOf(b rollout.Bundle, withReport bool) bundleAnswer {
	a := bundleAnswer{
		BundleHash: b.Hash, Revision: b.Revision, Active: b.Active, WasActive: b.WasActive, Shadow: b.Shadow,
		Proof:      proofAnswer{State: b.Proof.State, At: timeOrNull(&b.Proof.At), Detail: b.Proof.Detail},
		UploadedBy: b.UploadedBy, UploadedAt: engine.FormatTime(b.UploadedAt), PolicyEpoch: b.Epoch,
	}
	if withReport {
		a.Proof.Report = jsontext.Value(b.Proof.Report)
	}
	return a
}

// policies is the rollout, where there is one.
func (s *server) policies() (Rollout, error) {
	if s.rollout == nil {
		return nil, notFound("This gate's policy does not change.")
	}
	return s.rollout, nil
}

// bundleParam is the hash in the path.
func bundleParam(c *gin.Context) (string, error) {
	hash := c.Param("bundle_hash")
	if !bundleHash.MatchString(hash) {
		return "", notFound("A bundle hash is sha256: and 64 hex digits in lower case.")
	}
	return hash, nil
}

// noBundle says what is missing.
func noBundle(err error) error {
	if errors.Is(err, engine.ErrNotFound) {
		return notFound("No bundle with this hash is kept, or it is not what was asked about.")
	}
	return err
}

func (s *server) uploadBundle(c *gin.Context) error {
	p, err := s.policies()
	if err != nil {
		return err
	}
	q, err := readQuery(c, "reason")
	if err != nil {
		return err
	}
	q.faults.reason("reason", q.text("reason"), true)
	if err := q.err(); err != nil {
		return err
	}
	types := c.Request.Header["Content-Type"]
	if len(types) != 1 || !slices.Contains(archiveTypes, strings.ToLower(types[0])) {
		return problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be a bundle archive", "Send Content-Type: application/gzip.")
	}
	archive, err := readBytes(c, maxArchive)
	if err != nil {
		return err
	}
	b, added, err := p.Upload(c.Request.Context(), archive, engine.ChangeMeta{Actor: who(c).name, Reason: q.text("reason")})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if added {
		status = http.StatusCreated
	}
	s.answer(c, status, bundleOf(b, true))
	return nil
}

func (s *server) bundles(c *gin.Context) error {
	p, err := s.policies()
	if err != nil {
		return err
	}
	q, err := readQuery(c, "limit", "cursor")
	if err != nil {
		return err
	}
	limit, before := q.limit(), q.cursorInt()
	if err := q.err(); err != nil {
		return err
	}
	found, err := p.Bundles(c.Request.Context(), before, limit+1)
	if err != nil {
		return err
	}
	list := []bundleAnswer{}
	var next *string
	for i, b := range found {
		if i == limit {
			next = q.next(strconv.FormatInt(found[i-1].ID, 10))
			break
		}
		list = append(list, bundleOf(b, false))
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}

// bundle answers with what is known about a bundle or, to who accepts that
// only, with its bytes.
func (s *server) bundle(c *gin.Context) error {
	p, err := s.policies()
	if err != nil {
		return err
	}
	if err := noQuery(c); err != nil {
		return err
	}
	hash, err := bundleParam(c)
	if err != nil {
		return err
	}
	if kind := wantsArchive(c.Request.Header["Accept"]); kind != "" {
		archive, err := p.Archive(c.Request.Context(), hash)
		if err != nil {
			return noBundle(err)
		}
		neverKeep(c)
		c.Data(http.StatusOK, kind, archive)
		return nil
	}
	b, err := p.Bundle(c.Request.Context(), hash)
	if err != nil {
		return noBundle(err)
	}
	s.answer(c, http.StatusOK, bundleOf(b, true))
	return nil
}

// wantsArchive returns the archive type that Accept names; JSON is the default.
func wantsArchive(accept []string) string {
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		if kind, _, err := mime.ParseMediaType(part); err == nil && slices.Contains(archiveTypes, kind) {
			return kind
		}
	}
	return ""
}

func (s *server) policyHistory(c *gin.Context) error {
	p, err := s.policies()
	if err != nil {
		return err
	}
	q, err := readQuery(c, "from", "to", "limit", "cursor")
	if err != nil {
		return err
	}
	limit := q.limit()
	h := engine.PolicyHistoryQuery{From: q.time("from"), To: q.time("to"), AfterID: q.cursorInt(), Limit: limit + 1}
	if err := q.err(); err != nil {
		return err
	}
	changes, err := p.History(c.Request.Context(), h)
	if err != nil {
		return err
	}
	type change struct {
		ChangeID    int64          `json:"change_id"`
		PolicyEpoch int64          `json:"policy_epoch"`
		Kind        string         `json:"kind"`
		BundleHash  string         `json:"bundle_hash"`
		Before      jsontext.Value `json:"before"`
		After       jsontext.Value `json:"after"`
		Actor       string         `json:"actor"`
		Reason      string         `json:"reason"`
		At          string         `json:"at"`
	}
	list := []change{}
	var next *string
	for i, ch := range changes {
		if i == limit {
			next = q.next(strconv.FormatInt(list[i-1].ChangeID, 10))
			break
		}
		list = append(list, change{ch.ID, ch.Epoch, ch.Kind, ch.BundleHash, orNull(ch.Before), orNull(ch.After), ch.Actor, ch.Reason, engine.FormatTime(ch.At)})
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}
