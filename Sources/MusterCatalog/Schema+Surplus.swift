extension Schema {
    /// How many replicas a store holds of each node's snapshots and packs.
    ///
    /// The database counts by itself, so that no statement can forget to: whether a store has anything of a node that the
    /// placement has moved elsewhere is asked all the time, and a node may have a million snapshots.
    static let holdings = """
        CREATE TABLE holding(
            store INTEGER NOT NULL REFERENCES store(number),
            node BLOB NOT NULL REFERENCES node(id),
            snapshots INTEGER NOT NULL DEFAULT 0,
            packs INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (store, node)) STRICT, WITHOUT ROWID;

        CREATE TRIGGER manifest_replica_came AFTER INSERT ON manifest_replica BEGIN
            INSERT INTO holding(store, node, snapshots)
            SELECT NEW.store, s.node, 1 FROM snapshot s WHERE s.number = NEW.snapshot
            ON CONFLICT(store, node) DO UPDATE SET snapshots = snapshots + 1;
        END;
        CREATE TRIGGER manifest_replica_went AFTER DELETE ON manifest_replica BEGIN
            UPDATE holding SET snapshots = snapshots - 1
            WHERE store = OLD.store AND node = (SELECT s.node FROM snapshot s WHERE s.number = OLD.snapshot);
        END;
        CREATE TRIGGER pack_replica_came AFTER INSERT ON pack_replica BEGIN
            INSERT INTO holding(store, node, packs)
            SELECT NEW.store, n.id, 1 FROM pack p JOIN node n ON n.scope = p.scope WHERE p.number = NEW.pack
            ON CONFLICT(store, node) DO UPDATE SET packs = packs + 1;
        END;
        CREATE TRIGGER pack_replica_went AFTER DELETE ON pack_replica BEGIN
            UPDATE holding SET packs = packs - 1
            WHERE store = OLD.store
                AND node = (SELECT n.id FROM pack p JOIN node n ON n.scope = p.scope WHERE p.number = OLD.pack);
        END;
        """
}
