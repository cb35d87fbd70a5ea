extension Schema {
    /// How full each store was: hourly for a week, then once a day.
    ///
    /// Figures only, and small: without them everything works, so a rebuild begins with none.
    static let growth = """
        CREATE TABLE store_growth(
            store INTEGER NOT NULL REFERENCES store(number),
            at INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            objects INTEGER NOT NULL,
            PRIMARY KEY (store, at)) STRICT, WITHOUT ROWID;

        CREATE INDEX database_unprotected ON database(unprotected_since) WHERE unprotected_since IS NOT NULL;
        """

    /// Some things can only happen to databases in WAL mode.
    static let journalMode = "ALTER TABLE database ADD COLUMN journal_mode TEXT NOT NULL DEFAULT ''"
}
