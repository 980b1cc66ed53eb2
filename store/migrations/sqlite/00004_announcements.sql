-- What is told to people, and how far that has come: the same tables as in PostgreSQL.

-- +goose Up

-- Where announcements of a tenant go. Each change of it is a row of config_change.
CREATE TABLE channel (
    tenant_id TEXT NOT NULL, -- The tenant.
    name TEXT NOT NULL CHECK (name <> ''), -- What notify targets and people call it.
    format TEXT NOT NULL CHECK (format IN ('webhook', 'slack', 'teams')), -- webhook (Standard Webhooks with CloudEvents), slack or teams.
    approvals INTEGER NOT NULL CHECK (approvals IN (0, 1)), -- Whether every approval that is opened is announced here.
    origin TEXT NOT NULL CHECK (origin <> ''), -- Scheme, host and port of the URL; the rest may be a password.
    url_digest TEXT NOT NULL, -- sha256:<hex> of the URL.
    key_id TEXT NOT NULL, -- Tells signing keys apart without telling them; empty where nothing is signed.
    set_by TEXT NOT NULL, -- Name of the credential that set it.
    set_at TEXT NOT NULL, -- When it was set.
    PRIMARY KEY (tenant_id, name)
) STRICT;

-- The URL and signing keys of each channel: for the gate alone, never for a person.
CREATE TABLE channel_secret (
    tenant_id TEXT NOT NULL, -- The tenant.
    name TEXT NOT NULL, -- The channel.
    secret BLOB NOT NULL CHECK (length(secret) > 0), -- URL and keys.
    PRIMARY KEY (tenant_id, name),
    FOREIGN KEY (tenant_id, name) REFERENCES channel (tenant_id, name) ON DELETE CASCADE
) STRICT;

-- What decisions have left to be announced; a row goes when its announcements are there.
CREATE TABLE announcement_outbox (
    tenant_id TEXT NOT NULL, -- The tenant.
    log_seq INTEGER NOT NULL CHECK (log_seq > 0), -- log_seq of the first decision that it is about.
    items TEXT NOT NULL CHECK (json_valid(items) AND json_type(items) = 'array'), -- Array of {decision_id, notify} of decisions that a whitelist entry let go, and {decision_id, approval_id} of approvals that were opened.
    PRIMARY KEY (tenant_id, log_seq)
) STRICT;

-- One event told to one channel; those that were delivered go after 30 days.
CREATE TABLE announcement (
    tenant_id TEXT NOT NULL, -- The tenant.
    announcement_id TEXT NOT NULL, -- UUIDv7: the webhook-id, the same on every attempt.
    kind TEXT NOT NULL CHECK (kind IN ('auto_by_whitelist', 'approval_opened', 'test')), -- auto_by_whitelist, approval_opened or test.
    channel TEXT NOT NULL, -- The channel it goes to.
    notify TEXT NOT NULL, -- The whitelist entry's target that named the channel; empty for others.
    decision_id TEXT, -- The decision that it is about.
    approval_id TEXT, -- The approval that was opened.
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'dead')), -- pending, delivered or dead (given up, to be replayed by a person).
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- Attempts begun since it was made or replayed.
    next_attempt_at TEXT NOT NULL, -- Not before; while an attempt is under way, when another gate may take it over.
    last_error TEXT NOT NULL DEFAULT '', -- Why the newest attempt failed.
    created_at TEXT NOT NULL, -- When it was made.
    closed_at TEXT, -- When it was delivered or given up.
    replayed_by TEXT, -- Who replayed it last.
    replayed_at TEXT, -- When.
    PRIMARY KEY (tenant_id, announcement_id),
    CHECK ((status = 'pending') = (closed_at IS NULL)),
    CHECK ((replayed_by IS NULL) = (replayed_at IS NULL)),
    CHECK ((kind = 'test') = (decision_id IS NULL)),
    CHECK ((kind = 'approval_opened') = (approval_id IS NOT NULL))
) STRICT;
CREATE INDEX announcement_due ON announcement (tenant_id, channel, next_attempt_at) WHERE status = 'pending';
CREATE INDEX announcement_status ON announcement (tenant_id, status, announcement_id);
CREATE INDEX announcement_closed ON announcement (status, closed_at) WHERE status <> 'pending';

-- +goose Down
-- There is no way down: the log is evidence.
