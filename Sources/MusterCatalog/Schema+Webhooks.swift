extension Schema {
    /// What stood at the last look, and what webhooks are still to be told of it.
    ///
    /// An alarm that is missing stays for a while (`missing_since`): one that comes and goes is told once. Events go in
    /// the transaction that changes what stands, so that none is lost or made twice by a restart.
    static let webhooks = """
        CREATE TABLE standing_alarm(
            key TEXT NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            severity TEXT NOT NULL,
            node TEXT NOT NULL,
            database TEXT NOT NULL,
            store TEXT NOT NULL,
            summary TEXT NOT NULL,
            hint TEXT NOT NULL,
            since INTEGER NOT NULL,
            missing_since INTEGER) STRICT, WITHOUT ROWID;

        CREATE TABLE webhook_event(
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            url TEXT NOT NULL,
            body TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '') STRICT;
        CREATE INDEX webhook_event_by_url ON webhook_event(url, number);
        """
}
