import Foundation
import Glibc
import MusterTestSupport
import StressRig
import Synchronization
import Testing

@testable import MusterSQLite

@Suite("A database that others have open gets another content", .timeLimit(.minutes(10)))
struct LiveReplacementTests {
    private let folder: TemporaryDirectory
    private let (target, image, kept): (String, String, String)

    init() throws {
        folder = try TemporaryDirectory()
        (target, image, kept) = (folder.file("app.db"), folder.file("image.db"), folder.file("app.db.kept"))
    }

    /// Every row says which content it is of.
    private func make(_ path: String, mode: String = "wal", content: Int, rows: Int = 200, pageSize: Int = 4096) throws
    {
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        try connection.execute("PRAGMA page_size=\(pageSize)")
        try connection.execute("PRAGMA journal_mode=\(mode)")
        try connection.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, content INTEGER, filling BLOB)")
        try connection.execute(
            """
            WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < \(rows))
            INSERT INTO item SELECT id, \(content), randomblob(2000) FROM n
            """)
    }

    private func contents(_ path: String) throws -> [Int64] {
        let connection = try SQLiteConnection(path: path, access: .readOnly)
        let row = try connection.rows("SELECT min(content), max(content), count(*) FROM item").first ?? []
        return row.compactMap(\.integer)
    }

    private static let question = "SELECT min(content), max(content), count(*) FROM item"
    private static let soundness = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"

    @Test(arguments: ["wal", "delete", "truncate"])
    func whoHasItOpenSeesTheNewContentNext(mode: String) throws {
        try make(target, mode: mode, content: 1)
        try make(image, content: 2, rows: 50)
        let application = try ApplicationProcess(path: target)
        #expect(try application.run(Self.question) == ["1\t1\t200"])
        try LiveReplacement(of: target, with: image).run(keepingOldAs: kept)
        #expect(try application.run(Self.question) == ["2\t2\t50"])
        #expect(try application.run(Self.soundness) == ["0"])
        try application.run("INSERT INTO item(content) VALUES (2)")
        #expect(try contents(target) == [2, 2, 51] && contents(kept) == [1, 1, 200])
    }

    @Test func whoReadsMeanwhileSeesTheOldContentToTheEnd() throws {
        try make(target, content: 1)
        try make(image, content: 2, rows: 50)
        let reader = try ApplicationProcess(path: target)
        try reader.run("BEGIN")
        #expect(try reader.run(Self.question) == ["1\t1\t200"])
        try LiveReplacement(of: target, with: image).run(keepingOldAs: kept)
        #expect(try contents(target) == [2, 2, 50])
        #expect(try reader.run(Self.question) == ["1\t1\t200"])
        #expect(try reader.run("SELECT sum(length(filling)) FROM item") == ["400000"])
        try reader.run("COMMIT")
        #expect(try reader.run(Self.question) == ["2\t2\t50"])
    }

    @Test(arguments: ["wal", "delete"])
    func whoHoldsTheLockKeepsTheOldContent(mode: String) throws {
        try make(target, mode: mode, content: 1)
        try make(image, content: 2)
        let writer = try ApplicationProcess(path: target)
        try writer.run("BEGIN IMMEDIATE")
        #expect(throws: SQLiteError.self) {
            try LiveReplacement(of: target, with: image, lockMilliseconds: 50).run(keepingOldAs: kept)
        }
        try writer.run("INSERT INTO item(content) VALUES (1)")
        try writer.run("COMMIT")
        #expect(try contents(target) == [1, 1, 201])
    }

    /// Without WAL a reader keeps the writer out.
    @Test func aReaderOfARollbackJournalIsWaitedForAndNotHurt() throws {
        try make(target, mode: "delete", content: 1)
        try make(image, content: 2)
        let reader = try ApplicationProcess(path: target)
        try reader.run("BEGIN")
        #expect(try reader.run(Self.question) == ["1\t1\t200"])
        #expect(throws: SQLiteError.self) {
            try LiveReplacement(of: target, with: image, lockMilliseconds: 50).run(keepingOldAs: kept)
        }
        #expect(try reader.run(Self.question) == ["1\t1\t200"])
        try reader.run("COMMIT")
        #expect(try contents(target) == [1, 1, 200])
    }

    @Test(arguments: ["wal", "delete"])
    func whatIsCommittedMeanwhileIsKeptToo(mode: String) throws {
        try make(target, mode: mode, content: 1)
        try make(image, content: 2)
        let writer = Mutex(try ApplicationProcess(path: target))
        let rounds = Mutex(0)
        var replacement = LiveReplacement(of: target, with: image)
        replacement.beforeLock = {
            let round = rounds.withLock { rounds in
                rounds += 1
                return rounds
            }
            guard round <= 2 else { return }
            // What goes wrong shows in what was kept.
            _ = writer.withLock { try? $0.run("INSERT INTO item(content) VALUES (1)") }
        }
        try replacement.run(keepingOldAs: kept)
        #expect(rounds.withLock { $0 } == 3)
        #expect(try contents(kept) == [1, 1, 202] && contents(target) == [2, 2, 200])
    }

    /// Whoever may not read the target must not read its copy either, not even for a moment.
    @Test(arguments: [0o600, 0o640])
    func whatIsKeptIsReadableToNobodyElse(mode: Int) throws {
        try make(target, content: 1)
        try make(image, content: 2)
        chmod(target, mode_t(mode))
        let isRoot = getuid() == 0
        if isRoot { for name in [target, folder.file("")] { #expect(chown(name, 65_534, 65_534) == 0) } }
        let seen = Mutex<[FileState?]>([])
        let kept = kept
        var replacement = LiveReplacement(of: target, with: image)
        replacement.beforeLock = { seen.withLock { $0.append(FileState(unfollowed: kept)) } }
        try replacement.run(keepingOldAs: kept)
        let state = try #require(seen.withLock { $0.first ?? nil })
        #expect(state.permissions & ~UInt32(mode) == 0 && state.owner == (isRoot ? 65_534 : getuid()))
        #expect(try contents(target) == [2, 2, 200] && contents(kept) == [1, 1, 200])
    }

    @Test func oneThatIsWrittenToWithoutEndStaysAsItIs() throws {
        try make(target, content: 1)
        try make(image, content: 2)
        let writer = Mutex(try ApplicationProcess(path: target))
        var replacement = LiveReplacement(of: target, with: image)
        replacement.beforeLock = { _ = writer.withLock { try? $0.run("INSERT INTO item(content) VALUES (1)") } }
        #expect(throws: TargetTooBusy.self) { try replacement.run(keepingOldAs: kept) }
        #expect(try contents(target) == [1, 1, 208])
    }

    @Test func anotherPageSizeIsRefusedInWALMode() throws {
        try make(target, content: 1)
        try make(image, content: 2, pageSize: 8192)
        let application = try ApplicationProcess(path: target)
        _ = try application.run(Self.question)
        #expect(throws: SQLiteError.self) { try LiveReplacement(of: target, with: image).run(keepingOldAs: kept) }
        #expect(try application.run(Self.question) == ["1\t1\t200"])
    }

    private final class End: Sendable {
        private let state = Atomic(false)
        var isReached: Bool { state.load(ordering: .relaxed) }
        func reach() { state.store(true, ordering: .relaxed) }
    }

    /// Several processes read and write all the while: none ever sees a mixture.
    @Test(arguments: ["wal", "delete"])
    func nobodyEverSeesAMixture(mode: String) async throws {
        try make(target, mode: mode, content: 0)
        let images = [folder.file("one.db"), folder.file("two.db")]
        for (index, path) in images.enumerated() { try make(path, content: index + 1) }
        let (end, target) = (End(), target)
        try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<3 {
                group.addTask {
                    let application = try ApplicationProcess(path: target)
                    var seen = 0
                    while !end.isReached || seen == 0 {
                        let row = try application.run(Self.question).first?.split(separator: "\t") ?? []
                        #expect(row.count == 3 && row[0] == row[1], "\(row)")
                        seen += 1
                        if number == 0 {
                            // Its content is what it found; a change in between is seen by SQLite.
                            try application.run("UPDATE item SET filling = randomblob(1000) WHERE id % 7 = 0")
                        }
                        await Task.yield()
                    }
                    #expect(try application.run(Self.soundness) == ["0"])
                    return seen
                }
            }
            var replaced = 0
            while replaced < 20 {
                do {
                    try LiveReplacement(of: target, with: images[replaced % 2]).run(keepingOldAs: kept)
                    replaced += 1
                } catch is TargetTooBusy {}
                await Task.yield()
            }
            end.reach()
            for try await seen in group { #expect(seen > 0) }
        }
        #expect(try contents(target).prefix(2) == [2, 2])
    }
}
