import MusterModel
package import MusterSQLite

/// Asks a rebuilt database what is to be known of it.
///
/// The file may be hostile, so `muster` does it in a process of its own.
package protocol RebuiltInspector: Sendable {
    /// - Throws: `RebuiltInspectionFailure` where the database is to blame, and anything else where it is not.
    func answers(to questions: RebuiltQuestions, at path: String) async throws -> RebuiltAnswers
}

/// The inspection came to no end because of what was inspected: it crashed, or ran out of time or memory.
package struct RebuiltInspectionFailure: Error, Hashable {
    package let reason: String
    package init(reason: String) { self.reason = reason }
}

/// Asks in this process: for tests, and for a database of one's own.
package struct InspectorHere: RebuiltInspector {
    private let monotonic: @Sendable () -> Duration
    private let pool = BlockingPool(label: "muster-inspect", width: 1)

    package init(monotonic: @escaping @Sendable () -> Duration) { self.monotonic = monotonic }

    package func answers(to questions: RebuiltQuestions, at path: String) async throws -> RebuiltAnswers {
        let monotonic = monotonic
        return try await pool.run {
            try RebuiltDatabase(path: path, elapsed: monotonic).answers(to: questions)
        }
    }
}
