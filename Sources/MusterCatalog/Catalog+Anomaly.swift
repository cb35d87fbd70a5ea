import GRDB
import MusterModel

/// What a commit changed against what is usual for its database: see `ChangeJudge`.
///
/// A small commit costs one look at the database's row. Only a large one is looked at closely: its extents are counted, and
/// the newest snapshots before it are read.
extension Catalog {
    /// Raises `size` and `entropy` in the commit's own transaction: nothing can be given up in between.
    static func judge(
        _ commit: Commit, _ added: [Int64], _ bytesAdded: Int64, in database: GRDB.Database
    ) throws {
        guard commit.extentBytes > 0,
            let row = try database.row(
                "SELECT size_bytes, usual_ratio, suspect_bytes FROM database WHERE id = ?", [commit.database.blob])
        else { return }
        let before: Int64 = row["size_bytes"]
        guard bytesAdded >= ChangeJudge.floorBytes || before - commit.sizeBytes >= ChangeJudge.floorBytes else {
            return
        }
        var change = SeenChange(
            addedBytes: bytesAdded, extentBytes: 0, extentSealedBytes: 0, sizeBytes: commit.sizeBytes,
            sizeBytesBefore: before)
        for pack in added {
            guard let sums = try database.row(extentQuery, [pack]) else { continue }
            change.extentBytes += sums["count"] as Int64 * commit.extentBytes
            change.extentSealedBytes += sums["bytes"] as Int64
        }
        var habits = ChangeHabits(ratio: row["usual_ratio"], suspectBytes: row["suspect_bytes"])
        let found = try ChangeJudge.judge(change, &habits) {
            try database.rows(pastQuery, [commit.database.blob, ChangeJudge.historyLength + 8]).map { past in
                ChangeJudge.Past(addedBytes: past["stored_bytes"], sizeBytes: past["size_bytes"])
            }
        }
        try database.run(
            "UPDATE database SET usual_ratio = ?, suspect_bytes = ? WHERE id = ?",
            [habits.ratio, habits.suspectBytes, commit.database.blob])
        for (kind, reason) in found {
            try raise(
                Alarm(
                    kind: kind, node: commit.node, database: commit.database,
                    summary: "snapshot \(commit.snapshot) of database '\(commit.databaseName)' is unusual: \(reason)",
                    hint: "If nobody meant that, stop the application and restore from before it; nothing of the "
                        + "database is given up until 'muster alarm clear \(kind.rawValue)'.",
                    since: commit.receivedAt),
                in: database)
        }
    }

    static let extentQuery = "SELECT count(*) AS count, coalesce(sum(length), 0) AS bytes FROM chunk WHERE pack = ?"
    /// Newest first; the commit's own row is not there yet.
    static let pastQuery = """
        SELECT stored_bytes, size_bytes FROM snapshot s
        WHERE s.database = ? AND s.expired_at IS NULL ORDER BY s.received_at DESC LIMIT ?
        """

    /// A person has seen that the change was as it should be: what is usual is learnt anew.
    static func acceptChange(of id: DatabaseID, in database: GRDB.Database) throws {
        try database.run("UPDATE database SET usual_ratio = NULL, suspect_bytes = 0 WHERE id = ?", [id.blob])
    }
}
