extension Schema {
    /// What the coordinator keeps of itself in the stores: records of the fleet's state, backups of the catalog and the
    /// packs of these.
    ///
    /// A row is there before its object is (`is_whole` comes after), so that a crash leaves nothing that nobody knows of.
    /// What was there before there were rows is taken up from a listing (`is_adopted`): which packs such a backup needs is
    /// not known. `backup_pack` says it for the others, whichever store they are in.
    static let ownObjects = """
        CREATE TABLE own_object(
            number INTEGER PRIMARY KEY,
            store INTEGER NOT NULL REFERENCES store(number),
            object TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('state', 'backup', 'pack')),
            pack BLOB CHECK (pack IS NULL OR length(pack) = 32),
            byte_count INTEGER NOT NULL,
            is_whole INTEGER NOT NULL DEFAULT 0,
            is_adopted INTEGER NOT NULL DEFAULT 0,
            UNIQUE (store, object)) STRICT;
        CREATE INDEX own_object_by_kind ON own_object(store, kind, object);
        CREATE TABLE backup_pack(
            backup TEXT NOT NULL,
            pack BLOB NOT NULL CHECK (length(pack) = 32),
            PRIMARY KEY (backup, pack)) STRICT, WITHOUT ROWID;
        """
}
