extension Schema {
    /// Snapshots of the whole fleet that stand together.
    ///
    /// An item is a member once it has a snapshot, missing once it has a reason, and open while it has neither. `total`
    /// counts also what a rebuild found no trace of.
    static let fleetSnapshot = """
        CREATE TABLE fleet_snapshot(
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created_at INTEGER NOT NULL,
            until INTEGER NOT NULL,
            labels TEXT NOT NULL,
            actor TEXT NOT NULL,
            total INTEGER NOT NULL,
            is_finished INTEGER NOT NULL DEFAULT 0) STRICT;
        CREATE INDEX fleet_snapshot_open ON fleet_snapshot(until) WHERE NOT is_finished;

        CREATE TABLE fleet_snapshot_item(
            fleet_snapshot INTEGER NOT NULL REFERENCES fleet_snapshot(number),
            database BLOB NOT NULL REFERENCES database(id),
            job BLOB,
            snapshot BLOB,
            reason TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (fleet_snapshot, database)) STRICT, WITHOUT ROWID;
        CREATE INDEX fleet_snapshot_item_by_job ON fleet_snapshot_item(job) WHERE job IS NOT NULL;
        CREATE INDEX fleet_snapshot_item_by_snapshot ON fleet_snapshot_item(snapshot) WHERE snapshot IS NOT NULL;
        CREATE INDEX fleet_snapshot_item_open ON fleet_snapshot_item(fleet_snapshot)
            WHERE snapshot IS NULL AND reason = '';
        """

    /// A fleet snapshot does not end while its items are still being added, which takes a large fleet several steps.
    static let fleetFilling = "ALTER TABLE fleet_snapshot ADD COLUMN is_filling INTEGER NOT NULL DEFAULT 0"
}
