extension Schema {
    /// What each probe of a store found. `ok` is NULL where the store does not offer the capability.
    static let storeProbe = """
        CREATE TABLE store_probe(
            store INTEGER NOT NULL REFERENCES store(number),
            at INTEGER NOT NULL,
            capability TEXT NOT NULL,
            ok INTEGER CHECK (ok IN (0, 1)),
            detail TEXT NOT NULL,
            PRIMARY KEY (store, at, capability)) STRICT, WITHOUT ROWID;
        """
}
