extension Schema {
    /// Which snapshots have no good manifest in any store, and which nodes no good key record: `wanting`, as a pack is.
    ///
    /// The database keeps count by itself, so that no statement can forget to: what is good in no store must be named,
    /// and a catalog of a million snapshots cannot be gone over to find it. The manifest of a snapshot is written before
    /// the snapshot is committed, so a new one lacks nothing; the key record of a node is recorded after the node, which
    /// has no snapshots until then.
    static let wanting = """
        ALTER TABLE snapshot ADD COLUMN manifest_wanting INTEGER NOT NULL DEFAULT 0;
        UPDATE snapshot SET manifest_wanting = 1 WHERE NOT EXISTS
            (SELECT 1 FROM manifest_replica r WHERE r.snapshot = snapshot.number AND r.state = 'present');
        CREATE INDEX snapshot_manifest_wanting ON snapshot(number) WHERE manifest_wanting;

        CREATE TRIGGER manifest_wanted_no_more AFTER INSERT ON manifest_replica WHEN NEW.state = 'present' BEGIN
            UPDATE snapshot SET manifest_wanting = 0 WHERE number = NEW.snapshot AND manifest_wanting;
        END;
        CREATE TRIGGER manifest_changed AFTER UPDATE OF state ON manifest_replica WHEN NEW.state <> OLD.state BEGIN
            UPDATE snapshot SET manifest_wanting = NOT manifest_wanting
            WHERE number = NEW.snapshot AND manifest_wanting = EXISTS
                (SELECT 1 FROM manifest_replica r WHERE r.snapshot = NEW.snapshot AND r.state = 'present');
        END;
        CREATE TRIGGER manifest_gone AFTER DELETE ON manifest_replica WHEN OLD.state = 'present' BEGIN
            UPDATE snapshot SET manifest_wanting = NOT manifest_wanting
            WHERE number = OLD.snapshot AND manifest_wanting = EXISTS
                (SELECT 1 FROM manifest_replica r WHERE r.snapshot = OLD.snapshot AND r.state = 'present');
        END;

        ALTER TABLE node ADD COLUMN keys_wanting INTEGER NOT NULL DEFAULT 1;
        UPDATE node SET keys_wanting = 0 WHERE EXISTS
            (SELECT 1 FROM key_replica r WHERE r.node = node.id AND r.state = 'present');
        CREATE INDEX node_keys_wanting ON node(number) WHERE keys_wanting;

        CREATE TRIGGER keys_wanted_no_more AFTER INSERT ON key_replica WHEN NEW.state = 'present' BEGIN
            UPDATE node SET keys_wanting = 0 WHERE id = NEW.node AND keys_wanting;
        END;
        CREATE TRIGGER keys_changed AFTER UPDATE OF state ON key_replica WHEN NEW.state <> OLD.state BEGIN
            UPDATE node SET keys_wanting = NOT keys_wanting WHERE id = NEW.node AND keys_wanting = EXISTS
                (SELECT 1 FROM key_replica r WHERE r.node = NEW.node AND r.state = 'present');
        END;
        CREATE TRIGGER keys_gone AFTER DELETE ON key_replica WHEN OLD.state = 'present' BEGIN
            UPDATE node SET keys_wanting = NOT keys_wanting WHERE id = OLD.node AND keys_wanting = EXISTS
                (SELECT 1 FROM key_replica r WHERE r.node = OLD.node AND r.state = 'present');
        END;
        """
}
