package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ChannelFormat is how a channel is spoken to.
type ChannelFormat string

const (
	FormatWebhook ChannelFormat = "webhook" // Standard Webhooks, with a CloudEvents body
	FormatSlack   ChannelFormat = "slack"   // Slack's incoming webhooks
	FormatTeams   ChannelFormat = "teams"   // Microsoft Teams' workflow webhooks
)

// ChannelFormats are all of them.
var ChannelFormats = []ChannelFormat{FormatWebhook, FormatSlack, FormatTeams}

// MaxChannels is how many channels a tenant may have: each is told of each
// approval that it asks for.
const MaxChannels = 64

// ErrTooManyChannels: the tenant has MaxChannels of them. Nothing was changed.
var ErrTooManyChannels = errors.New("the tenant has as many channels as it may have")

// ChannelKey names a channel.
type ChannelKey struct{ TenantID, Name string }

// Channel is where announcements of a tenant go.
type Channel struct {
	ChannelKey
	Format    ChannelFormat
	Approvals bool // every approval that is opened is announced here
	SetBy     string
	SetAt     time.Time

	// Origin is scheme, host and port of the URL, and URLDigest "sha256:<hex>" of
	// the whole: what may be shown, since a path may be a password.
	Origin    string
	URLDigest string
	// KeyID tells signing keys apart without telling them: "" where there is none.
	KeyID string
}

// ChannelSecrets is what is never shown or logged. It prints as "[secret]".
type ChannelSecrets struct {
	URL string
	// Keys sign, newest first: the one before stays for a while after a change,
	// so that a receiver can change over. Webhooks have at least one.
	Keys []SigningKey
}

// SigningKey is a key of a webhook until a time; the zero time is for ever.
type SigningKey struct {
	Key   []byte
	Until time.Time
}

// String keeps secrets out of logs.
func (ChannelSecrets) String() string { return "[secret]" }

// GoString keeps secrets out of logs.
func (ChannelSecrets) GoString() string { return "[secret]" }

// String keeps secrets out of logs.
func (SigningKey) String() string { return "[secret]" }

// GoString keeps secrets out of logs.
func (SigningKey) GoString() string { return "[secret]" }

// AnnouncementKind is what is announced.
type AnnouncementKind string

const (
	AnnounceAuto     AnnouncementKind = "auto_by_whitelist" // a whitelist entry let an action go
	AnnounceApproval AnnouncementKind = "approval_opened"   // somebody is asked to approve
	AnnounceTest     AnnouncementKind = "test"              // an operator tries a channel
)

// notifyOf is where the whitelist entries among applied want their use announced.
func notifyOf(facts *Facts, applied []string) (targets []string) {
	for _, name := range applied {
		id, ok := strings.CutPrefix(name, "whitelist:")
		if !ok {
			continue
		}
		for _, w := range facts.Whitelist {
			if w.ID == id {
				targets = append(targets, w.Notify...)
			}
		}
	}
	return targets
}

// NotifyChannel finds the channel that a notify target names: channel:NAME, or
// FORMAT:NAME where the channel must have that format. A "#" before the name, as
// Slack writes it, is left out. fault says why there is none, for a person.
func NotifyChannel(target string, channels []*Channel) (name, fault string) {
	scheme, name, _ := strings.Cut(target, ":")
	name = strings.TrimPrefix(name, "#")
	if scheme != "channel" && !slices.Contains(ChannelFormats, ChannelFormat(scheme)) {
		return target, fmt.Sprintf("Nothing is sent to %q: a target is channel:NAME, webhook:NAME, slack:NAME or teams:NAME. Name a channel in the whitelist entry.", scheme+":")
	}
	i := slices.IndexFunc(channels, func(c *Channel) bool { return c.Name == name })
	switch {
	case i < 0:
		return name, fmt.Sprintf("There is no channel %q. Set it with PUT /channels/%s, then replay.", name, name)
	case scheme != "channel" && channels[i].Format != ChannelFormat(scheme):
		return name, fmt.Sprintf("The channel %q is of format %s, and the target says %s. Name it channel:%s in the whitelist entry; a replay sends this one.", name, channels[i].Format, scheme, name)
	}
	return name, ""
}

// AnnouncementStatus is where an announcement stands.
type AnnouncementStatus string

const (
	AnnouncementPending   AnnouncementStatus = "pending"   // to be sent, perhaps again
	AnnouncementDelivered AnnouncementStatus = "delivered" // the receiver said that it has it
	AnnouncementDead      AnnouncementStatus = "dead"      // given up; can be replayed
)

// AnnouncementStatuses are all of them.
var AnnouncementStatuses = []AnnouncementStatus{AnnouncementPending, AnnouncementDelivered, AnnouncementDead}

// Announcement is one event told to one channel.
type Announcement struct {
	TenantID      string
	ID            string // UUIDv7: the webhook-id, the same on every attempt
	Kind          AnnouncementKind
	Channel       string
	Notify        string // the whitelist entry's target that named the channel, "" for others
	DecisionID    string // "" for a test
	ApprovalID    string // of an opened approval
	Status        AnnouncementStatus
	Attempts      int       // begun so far, since the last replay
	NextAttemptAt time.Time // of a pending one: not before
	LastError     string    // why the newest attempt failed, for a person; no secret in it
	CreatedAt     time.Time
	ClosedAt      time.Time // delivered or given up
	ReplayedBy    string
	ReplayedAt    time.Time
}

// DueAnnouncement is an announcement that one gate is to send now.
type DueAnnouncement struct {
	*Announcement
	Entry    *Entry    // the decision's row; nil for a test, or if it cannot be read
	Approval *Approval // where the approval stands now; nil for others
}

// ChannelWork is what one gate has claimed of a channel.
type ChannelWork struct {
	Channel Channel
	Secrets ChannelSecrets
	Due     []DueAnnouncement
}

// AnnouncementResult is what came of an attempt.
type AnnouncementResult struct {
	TenantID, ID string
	Status       AnnouncementStatus // pending: try again at Next
	Next         time.Time
	Error        string
	At           time.Time
}

// AnnouncementQuery selects announcements of a tenant, newest first.
type AnnouncementQuery struct {
	Status   AnnouncementStatus // "" for any
	Channel  string             // "" for any
	BeforeID string             // "" from the newest
	Limit    int
}
