extension Schema {
    /// A look at the whole fleet asks of each node until when its certificate is good, and of each database that was never
    /// inspected since when it has been there: from these indexes alone, without the rows.
    static let fleetLooks = """
        DROP INDEX certificate_by_node;
        CREATE INDEX certificate_by_node ON certificate(node, revoked_at, not_after);
        DROP INDEX lineage_by_database;
        CREATE INDEX lineage_by_database ON lineage(database, started_at);
        """
}
