/// The tables of the catalog. Times are microseconds since 1970, ids are BLOBs.
///
/// A pack is needed by the snapshots of a lineage whose sequence lies in [born, died) of its reference; `live_packs`
/// counts those that did not die. `base` is the snapshot whose map a delta manifest changes, `base_steps` how far it
/// is from a full one. `moment` is the time that a restore to a point in time goes by: the end of the capture by the
/// node's clock (`created_at`), held between the database's receipt before and its own. A pack is `wanting` while no store has a good copy of it.
/// A pack's number is never given again: who works on a pack that gc takes meanwhile must not meet another one.
enum Schema {
    static let version1 = [
        identity, databases, packs, replication, inspections, work, record, retention, storeProbe, collection,
        fleetSnapshot, uploadGrant, webhooks,
    ]

    private static let identity = """
        CREATE TABLE setting(key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

        CREATE TABLE store(
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            url TEXT NOT NULL,
            site TEXT NOT NULL DEFAULT '',
            node BLOB REFERENCES node(id),
            state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'draining', 'lost')),
            added_at INTEGER NOT NULL) STRICT;

        CREATE TABLE node(
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
            name TEXT NOT NULL,
            scope BLOB NOT NULL UNIQUE CHECK (length(scope) = 16),
            signing_key BLOB NOT NULL CHECK (length(signing_key) = 32),
            key_object TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('active', 'retired', 'revoked')),
            ended_at INTEGER,
            joined_at INTEGER NOT NULL,
            last_contact_at INTEGER,
            reported_at INTEGER,
            agent_version TEXT NOT NULL,
            clock_offset INTEGER,
            free_bytes INTEGER) STRICT;
        CREATE INDEX node_by_name ON node(name);
        CREATE UNIQUE INDEX node_name_in_use ON node(name) WHERE state <> 'retired';

        CREATE TABLE certificate(
            fingerprint BLOB NOT NULL PRIMARY KEY CHECK (length(fingerprint) = 32),
            role TEXT NOT NULL,
            node BLOB REFERENCES node(id),
            subject TEXT NOT NULL,
            issued_at INTEGER NOT NULL,
            not_after INTEGER NOT NULL,
            revoked_at INTEGER) STRICT, WITHOUT ROWID;
        CREATE INDEX certificate_by_node ON certificate(node, not_after);

        CREATE TABLE token(
            secret_hash BLOB NOT NULL PRIMARY KEY CHECK (length(secret_hash) = 32),
            node_name TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            used_at INTEGER,
            request_hash BLOB,
            certificate TEXT) STRICT, WITHOUT ROWID;
        CREATE INDEX token_unused ON token(expires_at) WHERE used_at IS NULL;

        CREATE TABLE spent_signature(
            hash BLOB NOT NULL PRIMARY KEY,
            expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE INDEX spent_signature_by_expiry ON spent_signature(expires_at);
        """

    private static let databases = """
        CREATE TABLE database(
            id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
            node BLOB NOT NULL REFERENCES node(id),
            name TEXT NOT NULL,
            path TEXT NOT NULL,
            schedule TEXT NOT NULL,
            state TEXT NOT NULL,
            error_summary TEXT NOT NULL,
            error_hint TEXT NOT NULL,
            attempted_at INTEGER,
            changed INTEGER NOT NULL,
            change_counter INTEGER NOT NULL DEFAULT 0,
            receipt_change_counter INTEGER NOT NULL DEFAULT 0,
            unprotected_since INTEGER,
            capture TEXT NOT NULL DEFAULT '',
            interval_milliseconds INTEGER NOT NULL DEFAULT 0,
            slot_interval_milliseconds INTEGER NOT NULL DEFAULT 0,
            interval_shortened_at INTEGER,
            freshness_milliseconds INTEGER NOT NULL DEFAULT 0,
            writer_version INTEGER NOT NULL DEFAULT 0,
            schema_mark BLOB,
            usual_ratio REAL,
            suspect_bytes REAL NOT NULL DEFAULT 0,
            reported_at INTEGER,
            snapshot_count INTEGER NOT NULL DEFAULT 0,
            expired_count INTEGER NOT NULL DEFAULT 0,
            lineage_count INTEGER NOT NULL DEFAULT 0,
            stored_bytes INTEGER NOT NULL DEFAULT 0,
            size_bytes INTEGER NOT NULL DEFAULT 0,
            newest_snapshot BLOB,
            newest_received_at INTEGER,
            newest_created_at INTEGER,
            verified_at INTEGER) STRICT;
        CREATE INDEX database_by_node ON database(node, name);
        CREATE INDEX database_by_name ON database(name);
        CREATE INDEX database_failing ON database(state) WHERE state IN ('failing', 'unsupported');

        CREATE TABLE lineage(
            id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
            database BLOB NOT NULL REFERENCES database(id),
            head_sequence INTEGER NOT NULL,
            head_snapshot BLOB NOT NULL,
            head_manifest BLOB NOT NULL,
            live_packs INTEGER NOT NULL,
            forked_from TEXT NOT NULL,
            started_at INTEGER NOT NULL) STRICT;
        CREATE INDEX lineage_by_database ON lineage(database);

        CREATE TABLE snapshot(
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
            node BLOB NOT NULL REFERENCES node(id),
            database BLOB NOT NULL REFERENCES database(id),
            lineage BLOB NOT NULL REFERENCES lineage(id) DEFERRABLE INITIALLY DEFERRED,
            sequence INTEGER NOT NULL,
            parent BLOB,
            base BLOB,
            base_steps INTEGER NOT NULL,
            manifest_hash BLOB NOT NULL UNIQUE CHECK (length(manifest_hash) = 32),
            manifest_bytes INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            received_at INTEGER NOT NULL,
            moment INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            stored_bytes INTEGER NOT NULL,
            content_root BLOB NOT NULL CHECK (length(content_root) = 32),
            page_size INTEGER NOT NULL,
            page_count INTEGER NOT NULL,
            pack_count INTEGER NOT NULL,
            method TEXT NOT NULL,
            labels TEXT NOT NULL,
            verified_at INTEGER,
            verdict TEXT NOT NULL DEFAULT '',
            expired_at INTEGER,
            expired_by BLOB,
            grace_until INTEGER,
            spared_until INTEGER,
            forgotten_at INTEGER,
            is_freed INTEGER NOT NULL DEFAULT 0,
            UNIQUE (lineage, sequence)) STRICT;
        CREATE INDEX snapshot_by_receipt ON snapshot(expired_at, received_at);
        CREATE INDEX snapshot_by_node_receipt ON snapshot(node, expired_at, received_at);
        CREATE INDEX snapshot_by_database_receipt ON snapshot(database, expired_at, received_at);
        CREATE INDEX snapshot_by_database_moment ON snapshot(database, expired_at, moment);
        CREATE INDEX snapshot_by_base ON snapshot(base) WHERE base IS NOT NULL;
        CREATE INDEX snapshot_damaged ON snapshot(database) WHERE verdict LIKE 'failed%';

        CREATE TABLE label(
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            PRIMARY KEY (key, value, snapshot)) STRICT, WITHOUT ROWID;

        CREATE TABLE receipt(
            snapshot INTEGER PRIMARY KEY REFERENCES snapshot(number),
            bytes BLOB NOT NULL,
            stored INTEGER NOT NULL) STRICT;
        CREATE INDEX receipt_unstored ON receipt(snapshot) WHERE stored = 0;

        CREATE TABLE manifest_replica(
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            store INTEGER NOT NULL REFERENCES store(number),
            generation TEXT NOT NULL,
            receipt_generation TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('present', 'damaged', 'missing')),
            receipt_state TEXT NOT NULL CHECK (receipt_state IN ('present', 'damaged', 'missing')),
            checked_at INTEGER,
            hashed_at INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (snapshot, store)) STRICT, WITHOUT ROWID;
        CREATE INDEX manifest_replica_by_age ON manifest_replica(store, hashed_at);
        CREATE INDEX manifest_replica_bad ON manifest_replica(store)
            WHERE state <> 'present' OR receipt_state <> 'present';
        """

    private static let packs = """
        CREATE TABLE pack(
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id BLOB NOT NULL CHECK (length(id) = 32),
            scope BLOB NOT NULL CHECK (length(scope) = 16),
            size_bytes INTEGER NOT NULL,
            received_at INTEGER NOT NULL,
            leased_until INTEGER NOT NULL,
            committed INTEGER NOT NULL DEFAULT 0,
            wanting INTEGER NOT NULL DEFAULT 0,
            counted_in BLOB,
            condemned_at INTEGER,
            is_swept INTEGER NOT NULL DEFAULT 0,
            UNIQUE (id, scope)) STRICT;
        CREATE INDEX pack_wanting ON pack(scope) WHERE wanting;
        CREATE INDEX pack_lost ON pack(number) WHERE wanting AND committed;

        CREATE TABLE pack_replica(
            pack INTEGER NOT NULL REFERENCES pack(number),
            store INTEGER NOT NULL REFERENCES store(number),
            generation TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('present', 'damaged', 'missing')),
            checked_at INTEGER,
            hashed_at INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (pack, store)) STRICT, WITHOUT ROWID;
        CREATE INDEX pack_replica_by_age ON pack_replica(store, hashed_at);
        CREATE INDEX pack_replica_bad ON pack_replica(store) WHERE state <> 'present';

        CREATE TABLE chunk(
            id BLOB NOT NULL CHECK (length(id) = 32),
            pack INTEGER NOT NULL REFERENCES pack(number),
            offset INTEGER NOT NULL,
            length INTEGER NOT NULL,
            PRIMARY KEY (id, pack)) STRICT, WITHOUT ROWID;

        CREATE TABLE pack_reference(
            lineage BLOB NOT NULL REFERENCES lineage(id) DEFERRABLE INITIALLY DEFERRED,
            pack INTEGER NOT NULL REFERENCES pack(number),
            born INTEGER NOT NULL,
            died INTEGER,
            PRIMARY KEY (lineage, pack, born)) STRICT, WITHOUT ROWID;
        CREATE INDEX pack_reference_born ON pack_reference(lineage, born);
        CREATE INDEX pack_reference_live ON pack_reference(lineage, born) WHERE died IS NULL;
        CREATE INDEX pack_reference_dead ON pack_reference(lineage, died) WHERE died IS NOT NULL;
        CREATE INDEX pack_reference_by_pack ON pack_reference(pack, lineage, born);
        """

    private static let inspections = """
        CREATE TABLE verdict(
            number INTEGER PRIMARY KEY,
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            run BLOB NOT NULL,
            level TEXT NOT NULL,
            passed INTEGER NOT NULL,
            at INTEGER NOT NULL) STRICT;
        CREATE INDEX verdict_by_snapshot ON verdict(snapshot, at);

        CREATE TABLE verification(
            run BLOB NOT NULL PRIMARY KEY CHECK (length(run) = 16),
            level TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'finished')),
            started_at INTEGER NOT NULL,
            finished_at INTEGER,
            bytes_read INTEGER NOT NULL DEFAULT 0) STRICT;
        CREATE INDEX verification_running ON verification(started_at) WHERE state = 'running';

        CREATE TABLE verification_item(
            run BLOB NOT NULL REFERENCES verification(run),
            position INTEGER NOT NULL,
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            state TEXT NOT NULL CHECK (state IN ('waiting', 'passed', 'failed', 'unfinished')),
            PRIMARY KEY (run, position),
            UNIQUE (run, snapshot)) STRICT, WITHOUT ROWID;
        CREATE INDEX verification_item_by_state ON verification_item(run, state, position);

        CREATE TABLE inspected_object(
            run BLOB NOT NULL REFERENCES verification(run),
            object TEXT NOT NULL,
            store INTEGER NOT NULL REFERENCES store(number),
            reason TEXT NOT NULL,
            PRIMARY KEY (run, object, store)) STRICT, WITHOUT ROWID;

        CREATE TABLE finding(
            number INTEGER PRIMARY KEY,
            run BLOB NOT NULL REFERENCES verification(run),
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            store TEXT NOT NULL,
            object TEXT NOT NULL,
            reason TEXT NOT NULL) STRICT;
        CREATE INDEX finding_by_run ON finding(run);
        """

    private static let work = """
        CREATE TABLE job(
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
            node BLOB NOT NULL REFERENCES node(id),
            kind TEXT NOT NULL CHECK (kind IN ('snapshot', 'verify')),
            database BLOB NOT NULL REFERENCES database(id),
            snapshot BLOB,
            level TEXT NOT NULL,
            run BLOB,
            labels TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
            boot TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            handed_out_at INTEGER,
            finished_at INTEGER,
            outcome_snapshot BLOB,
            error_summary TEXT NOT NULL,
            error_hint TEXT NOT NULL) STRICT;
        CREATE INDEX job_open_by_node ON job(node, number) WHERE state IN ('queued', 'running');
        CREATE INDEX job_open_by_age ON job(created_at) WHERE state IN ('queued', 'running');
        """

    private static let record = """
        CREATE TABLE alarm(
            number INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            node BLOB,
            database BLOB,
            summary TEXT NOT NULL,
            hint TEXT NOT NULL,
            since INTEGER NOT NULL,
            cleared_at INTEGER) STRICT;
        CREATE INDEX alarm_standing ON alarm(database, kind) WHERE cleared_at IS NULL;

        CREATE TABLE audit(
            number INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            actor TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            previous_hash BLOB NOT NULL,
            hash BLOB NOT NULL) STRICT;
        CREATE INDEX audit_by_time ON audit(at);
        """
}
