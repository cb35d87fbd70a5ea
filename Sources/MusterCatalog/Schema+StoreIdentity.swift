extension Schema {
    /// Which store each one is, as its `format.json` says: another one in its place must not be taken for it, and one
    /// store must not count twice.
    static let storeIdentity = """
        ALTER TABLE store ADD COLUMN identity BLOB CHECK (identity IS NULL OR length(identity) = 16);
        CREATE UNIQUE INDEX store_by_identity ON store(identity) WHERE identity IS NOT NULL;
        """
}
