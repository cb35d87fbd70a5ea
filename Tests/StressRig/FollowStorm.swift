package import Foundation
import Glibc
import MusterSQLite
import MusterTestSupport

/// A database under applications that are killed at random, with a follower that is killed too, each a process of its
/// own; and the judge of every image that the follower makes.
package final class FollowStorm {
    package struct Counts: Sendable, CustomStringConvertible {
        package var kinds: [String: Int] = [:]
        package var captures = 0
        package var compared = 0
        package var bad: [String] = []
        package var followerKills = 0
        package var applicationKills = 0
        package var commits: Int64 = 0
        package var resumed = 0
        package var anew = 0
        package var brokenReasons: [String: Int] = [:]

        package var description: String {
            let kinds = kinds.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
            return "\(captures) captures (\(kinds)), \(compared) compared byte for byte, \(bad.count) BAD; "
                + "\(commits) commits; killed: follower \(followerKills), applications \(applicationKills); "
                + "attached: \(resumed) continuous, \(anew) anew; broken: \(brokenReasons); \(bad.prefix(3))"
        }
    }

    package let path: String
    private let folder: URL
    private let ledgerPath: String
    private let storm: Storm
    private var isOver = false
    private var next = 1
    private var lastSequence: Int64 = 0
    package private(set) var counts = Counts()

    /// Makes the database in `folder` and starts everybody.
    package init(folder: URL, settings: StormSettings) throws {
        self.folder = folder.appendingPathComponent("captures")
        path = folder.appendingPathComponent("stress.db").path
        ledgerPath = folder.appendingPathComponent("ledger").path
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
        let start = try Workload.start([
            "initialise", path, "page_size=\(settings.pageSize)", "auto_vacuum=\(settings.autoVacuum)",
            "rows=\(settings.rows)",
        ])
        guard try start.end() == 0 else { throw BrokenInvariant(reason: "the database was not made") }
        storm = try Storm(path: path, ledger: ledgerPath, captures: self.folder.path, settings: settings)
        storm.letsCheckpoint = !settings.stays
        try storm.goOn()
        guard settings.stays else { return }
        _ = try awaitMeta(self.folder.appendingPathComponent("capture-1.meta").path)
        storm.letsCheckpoint = true
    }

    deinit { stop() }

    package func stop() {
        guard !isOver else { return }
        isOver = true
        storm.stop()
        (counts.followerKills, counts.applicationKills) = (storm.followerKills, storm.applicationKills)
        counts.commits = (1...4).reduce(0) { $0 + ledger($1, 1) }
        readLog()
    }

    /// Lets them go on for a while without judging anything.
    package func rage(for span: Duration) throws {
        let end = ContinuousClock.now + span
        while .now < end {
            try storm.goOn()
            usleep(5000)
        }
    }

    /// Judges the next image; throws if none comes.
    package func judgeNext() throws {
        let image = folder.appendingPathComponent("capture-\(next)")
        let meta = try awaitMeta(image.path + ".meta")
        counts.captures += 1
        counts.kinds[meta["kind"] ?? "?", default: 0] += 1
        if meta["equal"] != "unknown" { counts.compared += 1 }
        let committed = Int64(meta["committed"] ?? "") ?? 0
        do {
            guard meta["equal"] != "no" else { throw BrokenInvariant(reason: "it differs from SQLite's own") }
            let sequence = try Invariant.check(try DatabaseImage(path: image.path))
            guard sequence >= lastSequence, sequence >= committed else {
                throw BrokenInvariant(reason: "sequence \(sequence) after \(lastSequence), committed \(committed)")
            }
            lastSequence = sequence
        } catch {
            counts.bad.append("capture \(next) (\(meta["kind"] ?? "?")): \(error)")
        }
        // The newest ones are what the follower goes on from.
        for suffix in ["", ".meta", ".cursor"] { unlink(folder.path + "/capture-\(next - 5)" + suffix) }
        next += 1
    }

    private func awaitMeta(_ path: String) throws -> [String: String] {
        for _ in 0..<60_000 {
            if let content = FileManager.default.contents(atPath: path) {
                let pairs = String(decoding: content, as: UTF8.self).split(separator: "\n").map {
                    $0.split(separator: "=", maxSplits: 1).map(String.init)
                }
                return Dictionary(pairs.map { ($0[0], $0.count > 1 ? $0[1] : "") }) { $1 }
            }
            try storm.goOn()
            usleep(1000)
        }
        throw BrokenInvariant(reason: "no capture in a minute; the log: \(log().suffix(5))")
    }

    /// - Returns: what is wrong with the database itself, once everybody is gone.
    package func judgeSource() -> String? {
        stop()
        do {
            // As any application would open it, so that a crashed writer's WAL is recovered.
            try SQLiteConnection(path: path, access: .readWrite).execute("SELECT 1 FROM sqlite_schema")
            _ = try Invariant.check(try DatabaseImage(path: path))
            return nil
        } catch { return "\(error)" }
    }

    private func log() -> [String] {
        let content = FileManager.default.contents(atPath: folder.path + "/follow.log") ?? Data()
        return String(decoding: content, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    private func readLog() {
        for line in log() {
            let words = line.split(separator: " ").dropFirst()
            switch words.first {
            case "continuous": counts.resumed += 1
            case "anew": counts.anew += 1
            case nil: break
            default:
                // Without paths and numbers the reasons fall into a few kinds.
                let reason = words.filter { !$0.contains("/") && $0.allSatisfy { !$0.isNumber } }
                counts.brokenReasons[reason.prefix(14).joined(separator: " "), default: 0] += 1
            }
        }
    }

    private func ledger(_ process: Int, _ slot: Int) -> Int64 {
        guard let bytes = FileManager.default.contents(atPath: ledgerPath) else { return 0 }
        let start = 8 * (process * 4 + slot)
        guard bytes.count >= start + 8 else { return 0 }
        return bytes[start..<start + 8].reversed().reduce(Int64(0)) { $0 << 8 | Int64($1) }
    }
}
