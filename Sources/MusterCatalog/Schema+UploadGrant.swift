extension Schema {
    /// Names that nodes may put packs under by themselves, written before the address is handed out.
    ///
    /// A row goes when the pack is claimed, in the transaction that records its copy. One that nobody claimed is given up
    /// (`is_given_up`): it can be claimed no more, and its name goes to `discarded_object`, twice: a put that
    /// began in time may have ended late.
    static let uploadGrant = """
        CREATE TABLE upload_grant(
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            node BLOB NOT NULL REFERENCES node(id),
            scope BLOB NOT NULL CHECK (length(scope) = 16),
            pack BLOB NOT NULL CHECK (length(pack) = 32),
            size_bytes INTEGER NOT NULL,
            store INTEGER NOT NULL REFERENCES store(number),
            generation TEXT NOT NULL,
            expires_at INTEGER NOT NULL,
            is_given_up INTEGER NOT NULL DEFAULT 0,
            UNIQUE (store, pack, generation)) STRICT;
        CREATE INDEX upload_grant_open ON upload_grant(node) WHERE NOT is_given_up;
        CREATE INDEX upload_grant_by_end ON upload_grant(is_given_up, expires_at);
        """
}
