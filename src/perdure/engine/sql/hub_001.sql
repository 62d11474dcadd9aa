-- The hub as of schema version 1.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- One row an orchestration; written at its start, when it is parked or unparked, and at its end.
CREATE TABLE instances (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    parked INTEGER NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    epoch INTEGER NOT NULL,
    parent TEXT NOT NULL,
    parent_key TEXT NOT NULL,
    definition BLOB NOT NULL,
    input_digest BLOB NOT NULL,
    custom_status BLOB,
    failure BLOB,
    output BLOB,
    call BLOB NOT NULL
);
CREATE INDEX instances_active ON instances (number) WHERE status = 'Running' AND parked = 0;
CREATE INDEX instances_created ON instances (created, number);
CREATE INDEX instances_parent ON instances (parent) WHERE parent <> '';

-- One row a landing, in `place` = number of the instance << 32 | number of the landing: one integer key, so that
-- a commit writes as few pages as it can. `events` is the number of events emitted up to and including this row.
CREATE TABLE landings (
    place INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE VIEW history AS
    SELECT place >> 32 AS instance, place & 4294967295 AS seq, events, record FROM landings;

-- The state to resume from, as of the landing `seq`.
CREATE TABLE kept (
    instance INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    older BLOB NOT NULL,
    custom_status BLOB,
    state BLOB NOT NULL
);

-- Timers of parked instances only; a live instance has its own in memory.
CREATE TABLE timers (
    instance INTEGER NOT NULL,
    key TEXT NOT NULL,
    fire_at REAL NOT NULL,
    PRIMARY KEY (instance, key)
) WITHOUT ROWID;
CREATE INDEX timers_due ON timers (fire_at, instance);

CREATE TABLE payloads (
    owner TEXT NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (owner, digest)
) WITHOUT ROWID;

CREATE TABLE entities (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    updated REAL NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (name, key)
) WITHOUT ROWID;
