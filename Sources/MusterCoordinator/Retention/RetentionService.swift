import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// Applies the policies as often as the settings say, one database after the other.
///
/// Nothing is held while it goes over the fleet: each database is decided on one view of the catalog, and marked in
/// transactions of its own. When it last went over the fleet is in the catalog, so a coordinator that is started
/// often does not apply them more often.
struct RetentionService: Service {
    private static let patience = Duration.seconds(30)

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            do {
                if try await coordinator.mayWrite() { try await coordinator.applyDueRetention() }
            } catch {
                coordinator.logger.warning("retention postponed", metadata: ["reason": "\(error)"])
            }
            await rounds.wait(true, after: 0, atMost: Self.patience)
        }
    }
}

extension Coordinator {
    /// A rebuild sets it to its own time: nodes say first how they go on, and then the policies are applied.
    static let lastApplied = "retention-applied-at"
    private static let databasesAtOnce = 200
    /// Who the audit names for what nobody asked for.
    private static let actor = "coordinator"

    /// What one run did with one database.
    struct Application: Sendable {
        let kept: Int
        let marked: Int
        let alarm: String?
    }

    /// Applies the policies to the whole fleet if that is due.
    ///
    /// - Returns: how many snapshots were marked; nil if it is not due.
    @discardableResult
    func applyDueRetention() async throws -> Int? {
        let now = clock.now()
        guard let every = settings.retentionEvery, try await isDue(every, now) else { return nil }
        // Before the work: what cannot be gone through must not be tried without end.
        try await catalog.set(Self.lastApplied, to: Array(now.description.utf8))
        let run = RunID(from: random)
        var marked = 0
        var last: DatabaseID?
        while !Task.isShuttingDownGracefully {
            let page = try await catalog.databaseIDs(after: last, limit: Self.databasesAtOnce)
            guard let end = page.last else { break }
            last = end
            for database in page where !Task.isShuttingDownGracefully {
                let row = Catalog.AuditRow(
                    actor: Self.actor, action: "retention-apply", subject: "run \(run) begins to mark", at: clock.now())
                do {
                    marked +=
                        try await apply(
                            to: database, run: run, actor: Self.actor, audit: marked == 0 ? row : nil)?.marked ?? 0
                } catch {
                    // Its snapshots stay until the next run, and those of the others need not wait for it.
                    logger.warning(
                        "retention not applied to a database",
                        metadata: ["database": "\(database)", "reason": "\(error)"])
                }
            }
        }
        guard marked > 0 else { return 0 }
        try await catalog.audit(
            Catalog.AuditRow(
                actor: Self.actor, action: "retention-applied", subject: "\(marked) snapshots marked in run \(run)",
                at: clock.now()))
        logger.info("retention applied", metadata: ["run": "\(run)", "marked": "\(marked)"])
        return marked
    }

    /// - Parameter row: appended where anything is marked.
    /// - Returns: nil where there is no such database.
    func apply(
        to database: DatabaseID, run: RunID, actor: String, audit row: Catalog.AuditRow?
    ) async throws -> Application? {
        let now = clock.now()
        guard let verdict = try await catalog.retentionVerdict(on: database, isShown: false, now: now) else {
            return nil
        }
        if let flood = verdict.flood { try await catalog.raise(flood, of: database, now: now) }
        if verdict.isAwaited { try await catalog.raiseAwaited(of: database, now: now) }
        let marked = try await catalog.mark(verdict, of: database, run: run, actor: actor, now: now, audit: row)
        return Application(
            kept: verdict.keptCount + verdict.expiringCount - marked, marked: marked, alarm: verdict.alarm)
    }

    private func isDue(_ every: Duration, _ now: Timestamp) async throws -> Bool {
        let text = try await catalog.setting(Self.lastApplied).map { String(decoding: $0, as: UTF8.self) }
        // A clock that was set back must not put it off.
        guard let last = text.flatMap({ Timestamp($0) }), last <= now else { return true }
        return now - last >= every
    }
}
