extension Schema {
    /// Databases that a rebuild found, and of which nobody has said yet how often their snapshots are taken.
    static let awaitedSchedules = "ALTER TABLE database ADD COLUMN awaits_schedule INTEGER NOT NULL DEFAULT 0"
}
