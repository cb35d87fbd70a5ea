extension Schema {
    /// Which snapshots are kept.
    ///
    /// A snapshot is marked by `expired_at`, `expired_by` and `grace_until`, which have values together or not at all. A
    /// marked one is in no list and is not the newest of anything, but it is restored by its id as before, and until
    /// `grace_until` the mark can be taken off. `spared_until` is set when that was done: until then no policy marks it again.
    /// `snapshot_count` of a database counts those that are not marked.
    static let retention = """
        CREATE INDEX snapshot_expired ON snapshot(received_at) WHERE expired_at IS NOT NULL;
        CREATE INDEX snapshot_expired_by_node ON snapshot(node, received_at) WHERE expired_at IS NOT NULL;
        CREATE INDEX snapshot_expired_by_database ON snapshot(database, received_at) WHERE expired_at IS NOT NULL;
        CREATE INDEX snapshot_by_grace ON snapshot(grace_until) WHERE expired_at IS NOT NULL;
        CREATE INDEX snapshot_by_run ON snapshot(expired_by, grace_until) WHERE expired_at IS NOT NULL;
        CREATE INDEX snapshot_verified ON snapshot(lineage, expired_at, received_at)
            WHERE verified_at IS NOT NULL AND verdict NOT LIKE 'failed%';

        CREATE TABLE hold(
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            name TEXT NOT NULL,
            reason TEXT NOT NULL,
            actor TEXT NOT NULL,
            at INTEGER NOT NULL,
            PRIMARY KEY (snapshot, name)) STRICT, WITHOUT ROWID;

        CREATE TABLE retention_policy(
            scope TEXT NOT NULL PRIMARY KEY,
            terms TEXT NOT NULL,
            actor TEXT NOT NULL,
            at INTEGER NOT NULL) STRICT, WITHOUT ROWID;

        CREATE TABLE retention_run(
            id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
            actor TEXT NOT NULL,
            at INTEGER NOT NULL,
            marked INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE INDEX retention_run_by_time ON retention_run(at);
        """
}
