-- What is told to people, and how far that has come: channels, what decisions
-- leave in the outbox, and the announcements that are made of it. None of this
-- is evidence: the gate log is. All of it can be made again from there.

-- +goose Up

CREATE TABLE channel (
    tenant_id  text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL CHECK (name <> ''),
    format     text NOT NULL CHECK (format IN ('webhook', 'slack', 'teams')),
    approvals  boolean NOT NULL,
    origin     text NOT NULL CHECK (origin <> ''),
    url_digest text NOT NULL,
    key_id     text NOT NULL,
    set_by     text NOT NULL,
    set_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE  channel IS 'Where announcements of a tenant go. Each change of it is a row of config_change.';
COMMENT ON COLUMN channel.tenant_id IS 'The tenant.';
COMMENT ON COLUMN channel.name IS 'What notify targets and people call it.';
COMMENT ON COLUMN channel.format IS 'webhook (Standard Webhooks with CloudEvents), slack or teams.';
COMMENT ON COLUMN channel.approvals IS 'Whether every approval that is opened is announced here.';
COMMENT ON COLUMN channel.origin IS 'Scheme, host and port of the URL; the rest may be a password.';
COMMENT ON COLUMN channel.url_digest IS 'sha256:<hex> of the URL.';
COMMENT ON COLUMN channel.key_id IS 'Tells signing keys apart without telling them; empty where nothing is signed.';
COMMENT ON COLUMN channel.set_by IS 'Name of the credential that set it.';
COMMENT ON COLUMN channel.set_at IS 'When it was set.';

-- Apart from channel so that who may look at channels need not see these.
CREATE TABLE channel_secret (
    tenant_id text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    secret    bytea NOT NULL CHECK (length(secret) > 0),
    PRIMARY KEY (tenant_id, name),
    FOREIGN KEY (tenant_id, name) REFERENCES channel (tenant_id, name) ON DELETE CASCADE
);
COMMENT ON TABLE  channel_secret IS 'The URL and signing keys of each channel: for the gate alone, never for a person.';
COMMENT ON COLUMN channel_secret.tenant_id IS 'The tenant.';
COMMENT ON COLUMN channel_secret.name IS 'The channel.';
COMMENT ON COLUMN channel_secret.secret IS 'URL and keys.';

-- Written in the transaction of the decisions it is about, one row for all that a
-- tenant has in one batch, so that it costs an append next to nothing. It has no
-- CHECKs: the executor reads those anew for each statement, which shows.
CREATE TABLE announcement_outbox (
    tenant_id text COLLATE "C" NOT NULL,
    log_seq   bigint NOT NULL,
    items     json NOT NULL,
    PRIMARY KEY (tenant_id, log_seq)
);
COMMENT ON TABLE  announcement_outbox IS 'What decisions have left to be announced; a row goes when its announcements are there.';
COMMENT ON COLUMN announcement_outbox.tenant_id IS 'The tenant.';
COMMENT ON COLUMN announcement_outbox.log_seq IS 'log_seq of the first decision that it is about.';
COMMENT ON COLUMN announcement_outbox.items IS 'Array of {decision_id, notify} of decisions that a whitelist entry let go, and {decision_id, approval_id} of approvals that were opened.';

CREATE TABLE announcement (
    tenant_id       text COLLATE "C" NOT NULL,
    announcement_id uuid NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('auto_by_whitelist', 'approval_opened', 'test')),
    channel         text COLLATE "C" NOT NULL,
    notify          text NOT NULL,
    decision_id     uuid,
    approval_id     uuid,
    status          text NOT NULL CHECK (status IN ('pending', 'delivered', 'dead')),
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL,
    last_error      text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    replayed_by     text,
    replayed_at     timestamptz,
    PRIMARY KEY (tenant_id, announcement_id),
    CHECK ((status = 'pending') = (closed_at IS NULL)),
    CHECK ((replayed_by IS NULL) = (replayed_at IS NULL)),
    CHECK ((kind = 'test') = (decision_id IS NULL)),
    CHECK ((kind = 'approval_opened') = (approval_id IS NOT NULL))
);
CREATE INDEX announcement_due ON announcement (tenant_id, channel, next_attempt_at) WHERE status = 'pending';
CREATE INDEX announcement_status ON announcement (tenant_id, status, announcement_id);
CREATE INDEX announcement_closed ON announcement (status, closed_at) WHERE status <> 'pending';
COMMENT ON TABLE  announcement IS 'One event told to one channel; those that were delivered go after 30 days.';
COMMENT ON COLUMN announcement.tenant_id IS 'The tenant.';
COMMENT ON COLUMN announcement.announcement_id IS 'UUIDv7: the webhook-id, the same on every attempt.';
COMMENT ON COLUMN announcement.kind IS 'auto_by_whitelist, approval_opened or test.';
COMMENT ON COLUMN announcement.channel IS 'The channel it goes to.';
COMMENT ON COLUMN announcement.notify IS 'The whitelist entry''s target that named the channel; empty for others.';
COMMENT ON COLUMN announcement.decision_id IS 'The decision that it is about.';
COMMENT ON COLUMN announcement.approval_id IS 'The approval that was opened.';
COMMENT ON COLUMN announcement.status IS 'pending, delivered or dead (given up, to be replayed by a person).';
COMMENT ON COLUMN announcement.attempts IS 'Attempts begun since it was made or replayed.';
COMMENT ON COLUMN announcement.next_attempt_at IS 'Not before; while an attempt is under way, when another gate may take it over.';
COMMENT ON COLUMN announcement.last_error IS 'Why the newest attempt failed.';
COMMENT ON COLUMN announcement.created_at IS 'When it was made.';
COMMENT ON COLUMN announcement.closed_at IS 'When it was delivered or given up.';
COMMENT ON COLUMN announcement.replayed_by IS 'Who replayed it last.';
COMMENT ON COLUMN announcement.replayed_at IS 'When.';

COMMENT ON COLUMN config_change.kind IS 'config, override_set, override_remove, whitelist_add, whitelist_remove, stop, release, channel_set or channel_remove.';

GRANT SELECT, INSERT, UPDATE, DELETE ON channel, channel_secret TO tiergate_writer;
GRANT SELECT, INSERT, UPDATE (items), DELETE ON announcement_outbox TO tiergate_writer;
GRANT SELECT, INSERT, DELETE, UPDATE (status, attempts, next_attempt_at, last_error, closed_at, replayed_by, replayed_at) ON announcement TO tiergate_writer;

-- +goose Down
-- There is no way down: the log is evidence.
