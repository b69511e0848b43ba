-- The keyring: wrapped keys only. It lies in two files with the same tables; each row bears a checksum over its fields, and a damaged row
-- of one file is repaired from the other.
CREATE TABLE meta (
    name     TEXT PRIMARY KEY,
    value    BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One per tenant and version, under the root key.
CREATE TABLE wrapping_keys (
    tenant   BLOB NOT NULL,
    version  INTEGER NOT NULL,
    wrapped  BLOB NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (tenant, version)
) STRICT, WITHOUT ROWID;

-- Claims, token HMAC, fingerprints, …: each under its tenant's wrapping key.
CREATE TABLE purpose_keys (
    id       BLOB PRIMARY KEY,
    tenant   BLOB NOT NULL,
    purpose  TEXT NOT NULL,
    version  INTEGER NOT NULL,
    wrapped  BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Data keys, minted ahead: 256 wrapped slots per row. A destroyed slot is all zeroes.
CREATE TABLE batches (
    id       BLOB PRIMARY KEY,
    tenant   BLOB NOT NULL,
    version  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    run      BLOB NOT NULL,
    slots    BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT;
