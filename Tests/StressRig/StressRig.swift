package import Foundation
import Glibc
import MusterModel
package import MusterSQLite
import MusterTestSupport

/// Four writers with an invariant, a checkpointer and a vacuumer on one database, each a process of its own.
package final class StressRig {
    package struct Settings: Sendable {
        package var pageSize = 4096
        package var journalMode = "wal"
        package var autoVacuum = 0
        package var rows = 2000
        package var writers = 4
        package var writerPauseMicroseconds = 3000
        package var checkpoints = true
        package var vacuums = true
        package var seed = 1
        package init() {}
    }

    package struct Counts: Sendable {
        package var commits: Int64 = 0
        package var rollbacks: Int64 = 0
        package var refusals: Int64 = 0
        package var checkpoints: Int64 = 0
        package var vacuums: Int64 = 0
    }

    private static let processes = 8
    private static let slots = 4

    package let path: String
    private let ledgerPath: String
    private let settings: Settings
    private var running: [ChildProcess] = []

    /// Makes the database in `folder` and starts everybody.
    package init(folder: URL, settings: Settings) throws {
        self.settings = settings
        path = folder.appendingPathComponent("stress.db").path
        ledgerPath = folder.appendingPathComponent("ledger").path
        try Data(count: Self.processes * Self.slots * 8).write(to: URL(fileURLWithPath: ledgerPath))
        let start = try Workload.start([
            "initialise", path, "page_size=\(settings.pageSize)", "journal_mode=\(settings.journalMode)",
            "auto_vacuum=\(settings.autoVacuum)", "rows=\(settings.rows)",
        ])
        guard try start.end() == 0 else { throw BrokenInvariant(reason: "the database was not made") }
        for number in 1...max(1, settings.writers) {
            try launch("writer", number, ["pause=\(settings.writerPauseMicroseconds)"])
        }
        if settings.checkpoints { try launch("checkpointer", 5, []) }
        if settings.vacuums { try launch("vacuumer", 6, []) }
    }

    deinit { stop() }

    private func launch(_ role: String, _ number: Int, _ options: [String]) throws {
        let common = ["seed=\(settings.seed)", "number=\(number)", "ledger=\(ledgerPath)"]
        running.append(try Workload.start([role, path] + common + options))
    }

    /// Kills everybody, as a power button would.
    package func stop() {
        for process in running { process.signal(SIGKILL) }
        for process in running { process.kill() }
        running = []
    }

    /// The highest sequence that some writer knows to be committed.
    package func committedSequence() throws -> Int64 {
        let slots = try slots()
        return (1...4).map { slots[$0 * Self.slots] }.max() ?? 0
    }

    package func counts() throws -> Counts {
        let slots = try slots()
        var counts = Counts()
        for writer in 1...4 {
            counts.commits += slots[writer * Self.slots + 1]
            counts.rollbacks += slots[writer * Self.slots + 2]
            counts.refusals += slots[writer * Self.slots + 3]
        }
        (counts.checkpoints, counts.vacuums) = (slots[5 * Self.slots], slots[6 * Self.slots])
        return counts
    }

    /// Waits until the writers have committed `count` more transactions; throws if they seem to be stuck.
    package func awaitCommits(_ count: Int64) throws {
        let goal = try counts().commits + count
        for _ in 0..<60_000 {
            if try counts().commits >= goal { return }
            for process in running where !process.isRunning { throw BrokenInvariant(reason: "a process has died") }
            usleep(1000)
        }
        throw BrokenInvariant(reason: "the writers are stuck")
    }

    private func slots() throws -> [Int64] {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: ledgerPath)))
        return (0..<Self.processes * Self.slots).map { slot in
            bytes[8 * slot..<8 * slot + 8].reversed().reduce(Int64(0)) { $0 << 8 | Int64($1) }
        }
    }
}

package struct BrokenInvariant: Error, CustomStringConvertible {
    package let reason: String
    package init(reason: String) { self.reason = reason }
    package var description: String { reason }
}

/// What must hold in every committed state that the workload makes.
package enum Invariant {
    /// - Returns: the sequence of the newest entry.
    /// - Throws: `BrokenInvariant` with the first thing that is wrong.
    package static func check(_ image: borrowing DatabaseImage) throws -> Int64 {
        let problems: [String]
        do { problems = try image.integrityCheck(maximumProblems: 3) } catch {
            throw BrokenInvariant(reason: "integrity check: \(error.reason)")
        }
        guard problems.isEmpty else { throw BrokenInvariant(reason: "integrity: \(problems.joined(separator: "; "))") }
        func number(_ sql: String) throws -> Int64 { try image.connection.integer(sql) ?? -1 }
        let (sum, total) = (
            try number("SELECT sum(balance) FROM account"), try number("SELECT total FROM ledger_head")
        )
        guard sum == total else { throw BrokenInvariant(reason: "the balances add up to \(sum), not \(total)") }
        let head = try number("SELECT sequence FROM ledger_head")
        let newest = try number("SELECT ifnull(max(sequence), 0) FROM entry")
        guard head == newest else { throw BrokenInvariant(reason: "the head is \(head), the last entry \(newest)") }
        let broken = try number(
            """
            SELECT count(*) FROM (
                SELECT *, lag(sequence) OVER next AS before, lag(chain) OVER next AS previous
                FROM entry WINDOW next AS (ORDER BY sequence))
            WHERE before IS NOT NULL AND (sequence <> before + 1
                OR chain <> (previous * 48271 + sequence * 69621 + writer * 16807 + step) % 2147483647)
            """)
        guard broken == 0 else { throw BrokenInvariant(reason: "\(broken) entries do not follow the one before") }
        let chains = try number(
            "SELECT count(*) FROM entry, ledger_head h WHERE entry.sequence = h.sequence AND entry.chain = h.chain")
        guard head == 0 || chains == 1 else { throw BrokenInvariant(reason: "the head's chain is another one") }
        return head
    }
}
