extension Schema {
    /// When a replica was read again from its store, by a scrub or because somebody doubted it.
    ///
    /// `hashed_at` says when its bytes were hashed last, be it on their way into the store: by that the scrub takes its
    /// turns. But what came in well may be bad by now, so nothing is covered by a scrub that has no `read_at`; a new copy
    /// has none.
    static let rereading = """
        ALTER TABLE pack_replica ADD COLUMN read_at INTEGER;
        ALTER TABLE manifest_replica ADD COLUMN read_at INTEGER;
        ALTER TABLE key_replica ADD COLUMN read_at INTEGER;
        """
}
