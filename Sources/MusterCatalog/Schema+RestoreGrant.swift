extension Schema {
    /// Orders to nodes to restore a snapshot, and what each of them is allowed for it while it is open.
    ///
    /// A row is the job too. It stays for a month after its end, so that no order counts twice: its id is drawn by who
    /// gave it. What is sealed in it goes when it ends.
    static let restoreGrant = """
        ALTER TABLE node ADD COLUMN grant_key BLOB;

        CREATE TABLE restore_grant(
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
            run BLOB NOT NULL CHECK (length(run) = 16),
            snapshot BLOB NOT NULL CHECK (length(snapshot) = 16),
            database BLOB NOT NULL REFERENCES database(id),
            target BLOB NOT NULL REFERENCES node(id),
            target_path TEXT NOT NULL,
            bytes BLOB NOT NULL,
            actor TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
            boot TEXT NOT NULL DEFAULT '',
            finished_at INTEGER,
            error_summary TEXT NOT NULL DEFAULT '',
            error_hint TEXT NOT NULL DEFAULT '',
            failing_store TEXT NOT NULL DEFAULT '',
            failing_object TEXT NOT NULL DEFAULT '',
            failing_reason TEXT NOT NULL DEFAULT '') STRICT;
        CREATE INDEX restore_grant_by_run ON restore_grant(run, number);
        CREATE INDEX restore_grant_open ON restore_grant(target, number) WHERE state IN ('queued', 'running');
        CREATE INDEX restore_grant_open_by_end ON restore_grant(expires_at) WHERE state IN ('queued', 'running');
        CREATE INDEX restore_grant_ended ON restore_grant(finished_at) WHERE finished_at IS NOT NULL;
        """

    /// Orders can be taken back: by whom, and whether the node has said since what became of it. Then its pin ends, so
    /// an order's pin is not that of somebody else who reads the snapshot.
    static let restoreCancelling = """
        ALTER TABLE restore_grant ADD COLUMN cancelled_by TEXT NOT NULL DEFAULT '';
        ALTER TABLE restore_grant ADD COLUMN cancel_heard INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX restore_grant_by_snapshot ON restore_grant(snapshot);

        CREATE TABLE new_pin(
            number INTEGER PRIMARY KEY,
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            kind TEXT NOT NULL CHECK (kind IN ('restore', 'verify', 'replication', 'order')),
            until INTEGER NOT NULL,
            UNIQUE (snapshot, kind)) STRICT;
        INSERT INTO new_pin SELECT number, snapshot, kind, until FROM pin;
        DROP TABLE pin;
        ALTER TABLE new_pin RENAME TO pin;
        CREATE INDEX pin_by_end ON pin(until);
        """
}
