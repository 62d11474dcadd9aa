-- The file of large payloads as of schema version 1.
CREATE TABLE payloads (
    number INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (owner, digest)
);
