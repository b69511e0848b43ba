-- The log: one B-tree, no secondary index. `record` is the frame of src/seal/record.rs; its position is the row id, which is the fence
-- against a second writer. Rows are never changed and never removed.
CREATE TABLE log (
    position INTEGER PRIMARY KEY CHECK (position > 0),
    record   BLOB NOT NULL
) STRICT;

CREATE TRIGGER log_no_update BEFORE UPDATE ON log BEGIN
    SELECT RAISE(ABORT, 'the log is append-only');
END;

CREATE TRIGGER log_no_delete BEFORE DELETE ON log BEGIN
    SELECT RAISE(ABORT, 'the log is append-only');
END;
