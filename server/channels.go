package server

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tiergate/tiergate/announce"
	"github.com/tiergate/tiergate/engine"
)

// keyOverlap is for how long the signing key before the newest still signs, too,
// so that a receiver can change over without losing anything.
const keyOverlap = 24 * time.Hour

const channelNameText = `^[a-z0-9][a-z0-9._-]{0,62}$`

var channelName = regexp.MustCompile(channelNameText)

// channelAnswer is a channel without its secrets.
type channelAnswer struct {
	Name      string `json:"name"`
	TenantID  string `json:"tenant_id"`
	Format    string `json:"format"`
	Approvals bool   `json:"approvals"`
	Origin    string `json:"origin"`
	URLDigest string `json:"url_digest"`
	KeyID     string `json:"key_id,omitempty"`
	SetBy     string `json:"set_by"`
	SetAt     string `json:"set_at"`
	// Secret is a signing key that the gate has just made. It is shown this once.
	Secret string `json:"secret,omitempty"`
}

func channelOf(c *engine.Channel) channelAnswer {
	return channelAnswer{c.Name, c.TenantID, string(c.Format), c.Approvals, c.Origin, c.URLDigest, c.KeyID, c.SetBy, engine.FormatTime(c.SetAt), ""}
}

// pathChannel is the channel that the path names.
func pathChannel(c *gin.Context) (engine.ChannelKey, error) {
	name := c.Param("channel")
	if !channelName.MatchString(name) {
		return engine.ChannelKey{}, notFound("A channel's name matches " + channelNameText + ".")
	}
	return engine.ChannelKey{TenantID: who(c).tenant, Name: name}, nil
}

func (s *server) channels(c *gin.Context) error {
	q, err := readQuery(c, "limit", "cursor")
	if err != nil {
		return err
	}
	limit, after := q.limit(), q.cursor()
	if err := q.err(); err != nil {
		return err
	}
	found, err := s.store.Channels(c.Request.Context(), who(c).tenant, after, limit+1)
	if err != nil {
		return err
	}
	list := []channelAnswer{}
	var next *string
	for i, ch := range found {
		if i == limit {
			next = q.next(list[i-1].Name)
			break
		}
		list = append(list, channelOf(ch))
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}

func (s *server) channel(c *gin.Context) error {
	key, err := pathChannel(c)
	if err != nil {
		return err
	}
	if err := noQuery(c); err != nil {
		return err
	}
	ch, err := s.store.Channel(c.Request.Context(), key)
	if err != nil {
		return err
	}
	s.answer(c, http.StatusOK, channelOf(ch))
	return nil
}

// channelBody is what PUT takes. What is left out stays as it is.
type channelBody struct {
	Format    string  `json:"format"`
	URL       *string `json:"url"`
	Secret    *string `json:"secret"`
	NewSecret bool    `json:"new_secret"`
	// DropOldSecrets: only the newest key signs, at once; for one that has leaked.
	DropOldSecrets bool   `json:"drop_old_secrets"`
	Approvals      *bool  `json:"approvals"`
	Reason         string `json:"reason"`
}

// wanted is a body that holds together by itself.
type wanted struct {
	channelBody
	origin, digest string
	key            []byte // to sign with from now on, nil: the one that is there
	text           string // of a key that the gate made
}

func (b channelBody) check(s *server) (w wanted, err error) {
	var f faults
	w.channelBody = b
	format := engine.ChannelFormat(b.Format)
	if !slices.Contains(engine.ChannelFormats, format) {
		f.add("format", "must be webhook, slack or teams")
	}
	f.reason("reason", b.Reason, true)
	if b.URL != nil {
		u, err := announce.CheckURL(*b.URL, s.allow)
		if err != nil {
			f.add("url", "%s", err)
		} else {
			sum := sha256.Sum256([]byte(*b.URL))
			w.origin, w.digest = announce.Origin(u), "sha256:"+hex.EncodeToString(sum[:])
		}
	}
	switch {
	case format != engine.FormatWebhook && (b.Secret != nil || b.NewSecret || b.DropOldSecrets):
		f.add("secret", "only webhooks are signed")
	case b.Secret != nil && b.NewSecret:
		f.add("new_secret", "give a secret or have one made, not both")
	case b.Secret != nil:
		if w.key, err = announce.ParseKey(*b.Secret); err != nil {
			f.add("secret", "%s", err)
		}
	case b.NewSecret:
		w.text, w.key = announce.NewKey()
	}
	return w, f.err()
}

// apply makes of what stands what is wanted.
func (w *wanted) apply(old *engine.Channel, secrets *engine.ChannelSecrets, now time.Time) (c engine.Channel, s engine.ChannelSecrets, err error) {
	var f faults
	c.Format = engine.ChannelFormat(w.Format)
	if old != nil {
		c.Approvals, c.Origin, c.URLDigest, c.KeyID = old.Approvals, old.Origin, old.URLDigest, old.KeyID
	}
	if secrets != nil && old.Format == c.Format {
		s = *secrets
	}
	if w.Approvals != nil {
		c.Approvals = *w.Approvals
	}
	if w.URL != nil {
		s.URL, c.Origin, c.URLDigest = *w.URL, w.origin, w.digest
	}
	if s.URL == "" {
		f.add("url", "is required for a channel that is new or gets another format")
	}
	if c.Format != engine.FormatWebhook {
		s.Keys, c.KeyID = nil, ""
		return c, s, f.err()
	}
	if w.key == nil && len(s.Keys) == 0 {
		w.text, w.key = announce.NewKey()
	}
	s.Keys = keysOf(w.key, s.Keys, w.DropOldSecrets, now)
	c.KeyID = announce.KeyID(s.Keys[0].Key)
	return c, s, f.err()
}

// maxKeys is how many keys sign at a time: the newest and those that it has
// replaced within keyOverlap.
const maxKeys = 4

// keysOf puts a key (nil: none) before those that sign, and leaves out what has
// run out, or, if asked to, everything but the newest. A key that is the newest
// already changes nothing: a request may be repeated.
func keysOf(key []byte, old []engine.SigningKey, drop bool, now time.Time) []engine.SigningKey {
	keys := slices.Clone(old)
	if key != nil && (len(old) == 0 || subtle.ConstantTimeCompare(old[0].Key, key) == 0) {
		if len(keys) > 0 {
			keys[0].Until = now.Add(keyOverlap)
		}
		keys = slices.DeleteFunc(keys, func(k engine.SigningKey) bool { return string(k.Key) == string(key) })
		keys = slices.Insert(keys, 0, engine.SigningKey{Key: key})
	}
	if drop {
		return keys[:1]
	}
	keys = slices.DeleteFunc(keys, func(k engine.SigningKey) bool { return !k.Until.IsZero() && !now.Before(k.Until) })
	return keys[:min(len(keys), maxKeys)]
}

func (s *server) putChannel(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	key, err := pathChannel(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	var b channelBody
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	w, err := b.check(s)
	if err != nil {
		return err
	}
	set, err := s.store.SetChannel(c.Request.Context(), key, engine.ChangeMeta{Actor: who(c).name, Reason: b.Reason}, w.apply)
	if err != nil {
		return err
	}
	s.wake(key)
	answer := channelOf(set)
	answer.Secret = w.text
	c.Header("Cache-Control", "no-store")
	s.answer(c, http.StatusOK, answer)
	return nil
}

func (s *server) deleteChannel(c *gin.Context) error {
	key, err := pathChannel(c)
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
	if err := s.store.RemoveChannel(c.Request.Context(), key, engine.ChangeMeta{Actor: who(c).name, Reason: q.text("reason")}); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *server) testChannel(c *gin.Context) error {
	key, err := pathChannel(c)
	if err != nil {
		return err
	}
	if err := cmp.Or(noQuery(c), noBody(c)); err != nil {
		return err
	}
	a, err := s.store.TestChannel(c.Request.Context(), key)
	if err != nil {
		return err
	}
	s.wake(key)
	s.answer(c, http.StatusAccepted, announcementOf(a))
	return nil
}

func (s *server) replayChannel(c *gin.Context) error {
	key, err := pathChannel(c)
	if err != nil {
		return err
	}
	if err := cmp.Or(noQuery(c), noBody(c)); err != nil {
		return err
	}
	n, err := s.store.ReplayAnnouncements(c.Request.Context(), key.TenantID, key.Name, "", who(c).name)
	if err != nil {
		return err
	}
	s.wake(key)
	s.answer(c, http.StatusAccepted, map[string]any{"replayed": n})
	return nil
}

// wake has a channel tried at once, now that somebody has looked after it.
func (s *server) wake(key engine.ChannelKey) {
	if s.sender != nil {
		s.sender.Wake(key)
	}
}
