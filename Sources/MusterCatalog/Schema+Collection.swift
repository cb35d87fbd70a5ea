/// The tables and indexes of gc, and what the two ways to read a snapshot's fate need.
///
/// A snapshot is marked (`expired_at`), then forgotten (`forgotten_at`): from there on nothing offers it, and it never
/// comes back. Its row and its manifest stay while a later snapshot is based on it. `is_freed` says that the packs
/// that it alone needed were looked for. A pack is `committed` while some snapshot that is not forgotten may need it;
/// one that is not, and that no lease protects, is condemned (`condemned_at`): it does not count as present. After the
/// grace it is swept (`is_swept`): its copies go to `discarded_object`, and its row follows its last reference.
/// `counted_in` is the database whose stored bytes count the pack.
extension Schema {
    static let collection = """
        CREATE TABLE pin(
            number INTEGER PRIMARY KEY,
            snapshot INTEGER NOT NULL REFERENCES snapshot(number),
            kind TEXT NOT NULL CHECK (kind IN ('restore', 'verify', 'replication')),
            until INTEGER NOT NULL,
            UNIQUE (snapshot, kind)) STRICT;
        CREATE INDEX pin_by_end ON pin(until);

        CREATE INDEX snapshot_unforgotten ON snapshot(lineage, sequence) WHERE forgotten_at IS NULL;
        CREATE INDEX snapshot_marked ON snapshot(lineage, sequence)
            WHERE expired_at IS NOT NULL AND forgotten_at IS NULL;
        CREATE INDEX snapshot_kept ON snapshot(lineage, sequence) WHERE expired_at IS NULL AND forgotten_at IS NULL;
        CREATE INDEX snapshot_proven ON snapshot(lineage, sequence)
            WHERE verified_at IS NOT NULL AND forgotten_at IS NULL;
        CREATE INDEX snapshot_unfreed ON snapshot(lineage, sequence) WHERE forgotten_at IS NOT NULL AND NOT is_freed;
        CREATE INDEX snapshot_forgotten ON snapshot(number) WHERE forgotten_at IS NOT NULL;
        CREATE INDEX label_by_snapshot ON label(snapshot);
        CREATE INDEX verification_item_by_snapshot ON verification_item(snapshot, state);
        CREATE INDEX finding_by_snapshot ON finding(snapshot);
        CREATE INDEX job_open_by_snapshot ON job(snapshot) WHERE state IN ('queued', 'running');

        CREATE INDEX pack_unneeded ON pack(leased_until) WHERE NOT committed AND condemned_at IS NULL;
        CREATE INDEX pack_condemned ON pack(condemned_at) WHERE condemned_at IS NOT NULL AND NOT is_swept;
        CREATE INDEX chunk_by_pack ON chunk(pack);
        """
}

extension Schema {
    /// What cannot be deleted is put off, so that it is in nobody's way, and is counted.
    static let undeletable = """
        ALTER TABLE discarded_object ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE discarded_object ADD COLUMN failure TEXT NOT NULL DEFAULT '';
        CREATE INDEX discarded_object_undeletable ON discarded_object(store, failure) WHERE attempts > 0;
        """
}
