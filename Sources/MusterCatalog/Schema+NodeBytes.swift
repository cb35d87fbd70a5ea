extension Schema {
    /// What each node's packs weigh, so that a quota costs no sum over all of them.
    ///
    /// A pack counts once, in however many stores it is, from its row on until gc gives its copies up.
    static let nodeBytes = """
        ALTER TABLE node ADD COLUMN pack_bytes INTEGER NOT NULL DEFAULT 0;
        UPDATE node SET pack_bytes = held.bytes
            FROM (SELECT scope, sum(size_bytes) AS bytes FROM pack WHERE NOT is_swept GROUP BY scope) AS held
            WHERE held.scope = node.scope;

        CREATE TRIGGER pack_bytes_added AFTER INSERT ON pack WHEN NOT new.is_swept BEGIN
            UPDATE node SET pack_bytes = pack_bytes + new.size_bytes WHERE scope = new.scope;
        END;
        CREATE TRIGGER pack_bytes_changed AFTER UPDATE OF is_swept, size_bytes ON pack BEGIN
            UPDATE node SET pack_bytes = pack_bytes + (NOT new.is_swept) * new.size_bytes
                    - (NOT old.is_swept) * old.size_bytes
                WHERE scope = new.scope;
        END;
        CREATE TRIGGER pack_bytes_removed AFTER DELETE ON pack WHEN NOT old.is_swept BEGIN
            UPDATE node SET pack_bytes = pack_bytes - old.size_bytes WHERE scope = old.scope;
        END;
        """
}
