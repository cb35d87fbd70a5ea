import Foundation
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import StressRig
import Synchronization
import Testing

/// Several slices: a batch of the capture is 4 MiB.
@Suite("A rollback-journal database is read in slices")
struct SlicedCaptureTests {
    private static let rows = 14_000
    private let folder: TemporaryDirectory
    private let path: String
    private let application: ApplicationProcess

    init() throws {
        folder = try TemporaryDirectory()
        path = folder.file("source.db")
        application = try ApplicationProcess(path: path)
        try application.run("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB, n INTEGER)")
        try application.run(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(Self.rows)) \
            INSERT INTO t SELECT i, randomblob(800), 0 FROM n
            """)
    }

    private func rig(_ seed: UInt64) throws -> LineageRig {
        try LineageRig(StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 1 << 30), seed: seed), path: path)
    }

    /// What the application is told while captures of `rig` are under way, one after the other.
    private func meanwhile(_ rig: LineageRig, _ statements: [String]) -> Script {
        let script = Script(application, statements)
        rig.fleet.meanwhile.withLock { $0 = { script.next() } }
        return script
    }

    /// The image that was pinned in the end, and the one that is restored.
    private func taken(_ rig: LineageRig) async throws -> LineageRig.Taken {
        let reference = Mutex<[UInt8]?>(nil)
        let taken = try #require(
            try await rig.take(observe: { capture in
                let image = try capture.referenceImage()
                reference.withLock { $0 = image }
            }))
        let target = folder.file("restored-\(taken.id).db")
        try await rig.fleet.restore(taken.id, to: target)
        let restored = try [UInt8](Data(contentsOf: URL(filePath: target)))
        #expect(restored == reference.withLock { $0 })
        return taken
    }

    @Test func aQuietOneIsNotHeldThroughout() async throws {
        let rig = try rig(1)
        #expect(try await taken(rig).writerWait?.heldThroughout == false)
        try application.run("UPDATE t SET n = 1 WHERE id % 500 = 7")
        let second = try await taken(rig)
        #expect(second.writerWait?.heldThroughout == false)
        #expect(!second.manifest.publicPart.isFull)
        #expect(second.manifest.publicPart.sealedBytesAdded < 20_000)
    }

    @Test func aCommitBetweenTwoSlicesIsSeen() async throws {
        let rig = try rig(2)
        let script = meanwhile(rig, ["UPDATE t SET n = n + 1, body = randomblob(800) WHERE id % 100 = 3"])
        let first = try await taken(rig)
        #expect(script.isDone)
        #expect(first.writerWait?.heldThroughout == false)
    }

    @Test func aTransactionThatSpilledAndWasRolledBackIsNoCommit() async throws {
        let rig = try rig(3)
        try application.run("PRAGMA cache_size = 5")
        let script = meanwhile(rig, ["BEGIN", "UPDATE t SET n = 9", "ROLLBACK"])
        let first = try await taken(rig)
        #expect(script.isDone)
        #expect(first.writerWait?.heldThroughout == false)
    }

    @Test(arguments: [0, 64 << 10, 32 << 20])
    func whereSomebodyAlwaysCommitsItIsHeldOnce(keptBytes: Int) async throws {
        let rig = try rig(UInt64(4 + keptBytes))
        rig.options.maximumKeptBytes = keptBytes
        try application.run("PRAGMA synchronous = OFF")
        try application.run("PRAGMA busy_timeout = 0")
        let step = Atomic(0)
        let script = Script(application, [])
        rig.monotonic = {
            let id = step.add(1, ordering: .relaxed).newValue
            // Refused while the capture holds the database.
            script.run("UPDATE t SET n = n + 1, body = randomblob(800) WHERE id % 211 = \(id % 211)")
            return steadyTime()
        }
        let first = try await taken(rig)
        #expect(first.writerWait?.heldThroughout == true)
        #expect(first.manifest.publicPart.isFull)
    }
}

/// Statements that an application runs one at a time, from whichever thread asks.
///
/// `@unchecked Sendable`: the application and its statements are touched under the lock only.
private final class Script: @unchecked Sendable {
    private let turn = Mutex(())
    private let application: ApplicationProcess
    private var statements: ArraySlice<String>
    private var failure: (any Error)?

    init(_ application: ApplicationProcess, _ statements: [String]) {
        (self.application, self.statements) = (application, statements[...])
    }

    var isDone: Bool { turn.withLock { _ in statements.isEmpty && failure == nil } }

    func next() {
        turn.withLock { _ in
            guard let statement = statements.popFirst() else { return }
            do { try application.run(statement) } catch { failure = error }
        }
    }

    func run(_ statement: String) {
        turn.withLock { _ in _ = try? application.run(statement) }
    }
}
