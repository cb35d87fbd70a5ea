import Foundation
package import MusterFormat
package import MusterModel
package import MusterSQLite

/// Proves that one snapshot comes back: rebuilds it in scratch space, and asks the rebuilt database.
///
/// The content root is compared before the file has its name (`SnapshotRestore`); `integrity_check` and everything
/// that a drill asks is the inspector's, as the file is hostile until proven otherwise.
package struct SnapshotProof: Sendable {
    private static let keptDetails = 100
    private static let detailLength = 500

    private let restore: SnapshotRestore
    private let inspector: any RebuiltInspector
    private let monotonic: @Sendable () -> Duration

    package init(
        restore: SnapshotRestore, inspector: any RebuiltInspector, monotonic: @escaping @Sendable () -> Duration
    ) {
        (self.restore, self.inspector, self.monotonic) = (restore, inspector, monotonic)
    }

    /// What is to be proven.
    package struct Order: Sendable {
        package var snapshot: SnapshotID
        package var isDrill: Bool
        package var expectations = DrillExpectations()
        /// What the drill counted that this one is compared with; nil where none is remembered.
        package var countsBefore: @Sendable (ManifestPublicPart) throws -> DrillCounts? = { _ in nil }
        package var questions: RebuiltQuestions

        package init(_ snapshot: SnapshotID, isDrill: Bool) {
            (self.snapshot, self.isDrill) = (snapshot, isDrill)
            questions = RebuiltQuestions(isDrill: isDrill)
        }
    }

    /// - Parameters:
    ///   - target: a path where nothing stands; what is made there stays there.
    ///   - onPlan: told what will be written before anything is; it may throw to refuse.
    /// - Throws: what is not the snapshot's fault.
    package func run(
        _ order: Order, to target: String, store: String,
        onPlan: (RestorePlan) throws -> Void = { _ in },
        onProgress: @escaping @Sendable (_ readBytes: UInt64, _ ofBytes: UInt64) -> Void = { _, _ in }
    ) async throws -> ProofOutcome {
        var outcome = ProofOutcome(snapshot: order.snapshot, store: store)
        try await prove(order, to: target, &outcome, onPlan, onProgress)
        // What failed is told as that.
        outcome.refused = restore.refusals.all.filter { !outcome.failed.contains($0) }
        return outcome
    }

    private func prove(
        _ order: Order, to target: String, _ outcome: inout ProofOutcome, _ onPlan: (RestorePlan) throws -> Void,
        _ onProgress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws {
        do {
            try onPlan(try await restore.plan(order.snapshot))
            let began = monotonic()
            outcome.plan = try await restore.run(
                order.snapshot, to: target, checkIntegrity: false, onProgress: onProgress)
            outcome.restoreSeconds = (monotonic() - began).inSeconds
        } catch let error as RestoreError {
            guard let failing = error.failing else { throw error }
            outcome.failed.append(failing)
            return
        }
        try await inspect(order, target, &outcome)
    }

    private func inspect(_ order: Order, _ target: String, _ outcome: inout ProofOutcome) async throws {
        let began = monotonic()
        defer { outcome.checkSeconds = (monotonic() - began).inSeconds }
        var answers = RebuiltAnswers()
        // SQLite takes a file of no bytes for an empty database; there is nothing to open.
        if outcome.plan?.publicPart.geometry.pageCount ?? 0 > 0 {
            var questions = order.questions
            questions.assertions = order.expectations.assertions
            do {
                answers = try await inspector.answers(to: questions, at: target)
            } catch let failure as RebuiltInspectionFailure {
                return outcome.fail(failure.reason)
            }
        }
        outcome.integrity = answers.problems.isEmpty ? answers.failure == nil ? .ok : .unknown : .failed
        outcome.details = (answers.problems + answers.details).prefix(Self.keptDetails).map(Self.plain)
        if let failure = answers.failure {
            outcome.fail("the rebuilt database was not inspected to the end: \(failure)")
        }
        if !answers.problems.isEmpty {
            outcome.fail("integrity_check finds \(answers.problems.count) problems in the rebuilt database")
        }
        guard order.isDrill, answers.failure == nil, answers.problems.isEmpty else { return }
        // Whoever the database made of the process that asked it must not answer less, or something else.
        guard answers.assertions.count == order.expectations.assertions.count,
            answers.rows.count <= RebuiltAnswers.mostTables
        else { return outcome.fail("the rebuilt database was not asked what its owner asks") }
        let before = try outcome.plan.flatMap { try order.countsBefore($0.publicPart) }
        judge(answers, before, order.expectations, &outcome)
    }

    private func judge(
        _ answers: RebuiltAnswers, _ before: DrillCounts?, _ expectations: DrillExpectations,
        _ outcome: inout ProofOutcome
    ) {
        var drill = DrillFigures(answers, before: before, expectations)
        outcome.details += drill.drops.prefix(Self.keptDetails - outcome.details.count).map(Self.plain)
        if answers.foreignKeyViolations > 0, expectations.wantsForeignKeys {
            outcome.fail("foreign_key_check finds \(answers.foreignKeyViolations) violations")
        }
        drill.assertions = zip(expectations.assertions, answers.assertions).map(AssertionOutcome.init)
        for assertion in drill.assertions where !assertion.passed {
            outcome.fail("assertion '\(assertion.name)': \(assertion.reason)")
        }
        if let largest = expectations.largestDrop, drill.largestDrop > largest {
            outcome.fail(
                """
                a table has lost \(Self.percent(drill.largestDrop)) % of its rows since the drill before, where the \
                owner allows \(Self.percent(largest)) %: the agent's log names it, and 'muster database may-shrink' \
                accepts it
                """)
        }
        outcome.drill = drill
    }

    /// For a log and a terminal, whatever a hostile database wrote into it.
    static func plain(_ text: String) -> String {
        let shown = text.unicodeScalars.prefix(detailLength).map { scalar -> Character in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned: return "?"
            default: return Character(scalar)
            }
        }
        return String(shown)
    }

    private static func percent(_ part: Double) -> String { String(format: "%.1f", part * 100) }
}

extension RestorePlan {
    /// Of the file that a restore writes.
    package var restoredBytes: UInt64 { publicPart.geometry.sizeBytes }
}

/// What `integrity_check` said of a rebuilt database.
package enum Integrity: String, Sendable {
    case ok, failed
    /// It was not asked, or not to the end.
    case unknown = ""
}

/// How a proof ended.
package struct ProofOutcome: Sendable {
    /// Empty where the snapshot passed. Nothing of it is content of the database.
    package var failed: [Failing] = []
    /// Replicas that were refused, where another one served.
    package var refused: [Failing] = []
    /// In SQLite's own words, which may hold names and values: for the node alone. Bounded, and fit to be printed.
    package var details: [String] = []
    package var plan: RestorePlan?
    package var restoreSeconds = 0.0
    package var checkSeconds = 0.0
    package var integrity = Integrity.unknown
    /// Where it was a drill that came to its end.
    package var drill: DrillFigures?

    private let snapshot: SnapshotID
    private let store: String

    fileprivate init(snapshot: SnapshotID, store: String) { (self.snapshot, self.store) = (snapshot, store) }

    package var storedBytes: UInt64 { plan?.publicPart.storedBytes ?? 0 }
    package var restoredBytes: UInt64 { plan?.restoredBytes ?? 0 }

    fileprivate mutating func fail(_ reason: String) {
        failed.append(Failing(snapshot: snapshot.description, store: store, object: "", reason: reason))
    }
}
