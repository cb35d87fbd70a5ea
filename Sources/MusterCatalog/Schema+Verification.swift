/// The tables of inspections.
///
/// A run (`verification`) is over items. A run over the fleet is filled in steps: while it `is_filling` it does not
/// end, and `filled_to` is the last database that was looked at. What is counted is counted where it changes, for the
/// run and for each node in it, so that a look at a large run reads no items. `patience` is how long, in microseconds,
/// a node may be silent before its items are given up. An item's verdict is in `verdict`; `drill` keeps what a drill
/// measured after its snapshot is gone: the newest `Catalog.keptDrills` of each database.
///
/// `database.checked_at`, `scrubbed_at`, `verified_at` and `drilled_at` are those of the newest passed verdict of any of
/// its snapshots; `inspection_tried_at` is when an agent's inspection last ended in any way.
extension Schema {
    /// Work that is over is forgotten after a while. A verdict knows for itself when its run began: that says which
    /// failures it lifts.
    static let oldWork = """
        CREATE INDEX job_closed_by_end ON job(finished_at) WHERE state IN ('done', 'failed');
        ALTER TABLE verdict ADD COLUMN began_at INTEGER;
        UPDATE verdict SET began_at = (SELECT started_at FROM verification v WHERE v.run = verdict.run);
        """

    /// Jobs know how often they were given to an agent.
    static let handOuts = "ALTER TABLE job ADD COLUMN hand_outs INTEGER NOT NULL DEFAULT 0"

    /// A drill tells what it was compared with, and why it failed, also where nothing could be rebuilt.
    static let drillsCompared = """
        ALTER TABLE drill ADD COLUMN tables_present INTEGER NOT NULL DEFAULT 0;
        UPDATE drill SET tables_present = table_count;
        ALTER TABLE drill ADD COLUMN compared_with BLOB;
        ALTER TABLE drill ADD COLUMN integrity TEXT NOT NULL DEFAULT '';
        ALTER TABLE drill ADD COLUMN reason TEXT NOT NULL DEFAULT '';
        """

    /// Replicas that an inspection refused and did without. No failure hangs on them, so they are no findings.
    static let refusedReplicas = """
        CREATE TABLE refused_replica(
            number INTEGER PRIMARY KEY,
            run BLOB NOT NULL REFERENCES verification(run),
            snapshot INTEGER REFERENCES snapshot(number),
            database BLOB NOT NULL REFERENCES database(id),
            store TEXT NOT NULL,
            object TEXT NOT NULL,
            reason TEXT NOT NULL) STRICT;
        CREATE INDEX refused_replica_by_run ON refused_replica(run, number);
        CREATE INDEX refused_replica_by_snapshot ON refused_replica(snapshot);
        """

    static let inspections = """
        CREATE TABLE verdict(
            number INTEGER PRIMARY KEY,
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            run BLOB NOT NULL,
            level TEXT NOT NULL,
            passed INTEGER NOT NULL,
            at INTEGER NOT NULL,
            seconds REAL NOT NULL DEFAULT 0,
            bytes_read INTEGER NOT NULL DEFAULT 0) STRICT;
        CREATE INDEX verdict_by_snapshot ON verdict(snapshot, at);

        CREATE TABLE verification(
            run BLOB NOT NULL PRIMARY KEY CHECK (length(run) = 16),
            level TEXT NOT NULL,
            scope TEXT NOT NULL DEFAULT '',
            actor TEXT NOT NULL DEFAULT '',
            patience INTEGER NOT NULL DEFAULT 900000000,
            state TEXT NOT NULL CHECK (state IN ('running', 'finished')),
            is_filling INTEGER NOT NULL DEFAULT 0,
            filled_to BLOB,
            node BLOB REFERENCES node(id),
            total INTEGER NOT NULL DEFAULT 0,
            passed INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            unfinished INTEGER NOT NULL DEFAULT 0,
            started_at INTEGER NOT NULL,
            finished_at INTEGER,
            bytes_read INTEGER NOT NULL DEFAULT 0) STRICT;
        CREATE INDEX verification_running ON verification(started_at) WHERE state = 'running';
        CREATE INDEX verification_by_start ON verification(started_at, run);

        CREATE TABLE verification_item(
            run BLOB NOT NULL REFERENCES verification(run),
            position INTEGER NOT NULL,
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            state TEXT NOT NULL CHECK (state IN ('waiting', 'passed', 'failed', 'unfinished')),
            at INTEGER,
            seconds REAL NOT NULL DEFAULT 0,
            bytes_read INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (run, position),
            UNIQUE (run, snapshot)) STRICT, WITHOUT ROWID;
        CREATE INDEX verification_item_by_state ON verification_item(run, state, position);

        CREATE TABLE verification_node(
            run BLOB NOT NULL REFERENCES verification(run),
            node BLOB NOT NULL REFERENCES node(id),
            total INTEGER NOT NULL DEFAULT 0,
            passed INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            unfinished INTEGER NOT NULL DEFAULT 0,
            bytes_read INTEGER NOT NULL DEFAULT 0,
            seconds REAL NOT NULL DEFAULT 0,
            PRIMARY KEY (run, node)) STRICT, WITHOUT ROWID;

        CREATE TABLE inspected_object(
            run BLOB NOT NULL REFERENCES verification(run),
            object TEXT NOT NULL,
            store INTEGER NOT NULL REFERENCES store(number),
            reason TEXT NOT NULL,
            PRIMARY KEY (run, object, store)) STRICT, WITHOUT ROWID;

        CREATE TABLE finding(
            number INTEGER PRIMARY KEY,
            run BLOB NOT NULL REFERENCES verification(run),
            snapshot INTEGER REFERENCES snapshot(number),
            database BLOB NOT NULL REFERENCES database(id),
            store TEXT NOT NULL,
            object TEXT NOT NULL,
            reason TEXT NOT NULL) STRICT;
        CREATE INDEX finding_by_run ON finding(run, number);

        CREATE TABLE drill(
            number INTEGER PRIMARY KEY,
            database BLOB NOT NULL REFERENCES database(id),
            snapshot BLOB NOT NULL,
            run BLOB NOT NULL,
            at INTEGER NOT NULL,
            passed INTEGER NOT NULL,
            restore_seconds REAL NOT NULL,
            restored_bytes INTEGER NOT NULL,
            check_seconds REAL NOT NULL,
            table_count INTEGER NOT NULL,
            row_count INTEGER NOT NULL,
            is_compared INTEGER NOT NULL,
            shrunk_tables INTEGER NOT NULL,
            vanished_tables INTEGER NOT NULL,
            largest_drop REAL NOT NULL,
            foreign_key_violations INTEGER NOT NULL) STRICT;
        CREATE INDEX drill_by_database ON drill(database, number);

        CREATE TABLE drill_assertion(
            drill INTEGER NOT NULL REFERENCES drill(number) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            name TEXT NOT NULL,
            passed INTEGER NOT NULL,
            value REAL,
            reason TEXT NOT NULL,
            PRIMARY KEY (drill, position)) STRICT, WITHOUT ROWID;

        CREATE INDEX database_by_verified ON database(verified_at, inspection_tried_at);
        CREATE INDEX database_by_drilled ON database(drilled_at, inspection_tried_at);
        """
}
