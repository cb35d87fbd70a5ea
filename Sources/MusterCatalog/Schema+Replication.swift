/// The tables of what has to be copied from store to store.
///
/// `replication` has a row for each copy that is wanted and not there: of a snapshot (its manifest, its receipt and what
/// they need), or of one pack or key record whose copy is bad. A row goes in the transaction that records the copy, so the queue
/// survives every restart. `discarded_object` names objects that nothing refers to any more, by their exact physical
/// names: bad copies in quarantine until `not_before`, and what a better copy replaced. As a name is never used
/// again, deleting one of them is right at any later time; only gc does it. Numbers are not given again either: who
/// took a row up and comes late with its end must not end another.
extension Schema {
    static let replication = """
        CREATE TABLE key_replica(
            node BLOB NOT NULL REFERENCES node(id),
            store INTEGER NOT NULL REFERENCES store(number),
            object TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('present', 'damaged', 'missing')),
            hashed_at INTEGER NOT NULL,
            PRIMARY KEY (node, store)) STRICT, WITHOUT ROWID;
        CREATE INDEX key_replica_by_age ON key_replica(store, hashed_at);
        CREATE INDEX key_replica_bad ON key_replica(store) WHERE state <> 'present';

        CREATE TABLE replication(
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            store INTEGER NOT NULL REFERENCES store(number),
            kind TEXT NOT NULL CHECK (kind IN ('keys', 'pack', 'snapshot')),
            subject INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            wanted_at INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            UNIQUE (store, kind, subject)) STRICT;
        CREATE INDEX replication_due ON replication(store, kind, due_at);
        CREATE INDEX replication_by_age ON replication(store, wanted_at);
        CREATE INDEX replication_failing ON replication(store) WHERE reason <> '';

        CREATE TABLE discarded_object(
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            store INTEGER NOT NULL REFERENCES store(number),
            object TEXT NOT NULL,
            byte_count INTEGER NOT NULL,
            not_before INTEGER NOT NULL,
            reason TEXT NOT NULL,
            UNIQUE (store, object)) STRICT;
        CREATE INDEX discarded_object_due ON discarded_object(store, not_before);
        """
}
