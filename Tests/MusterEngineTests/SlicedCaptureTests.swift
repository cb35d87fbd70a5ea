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

    /// Lets the application do something between the slices of the next capture of `rig`.
    ///
    /// The capture asks for the time before each slice, and in it; a statement is refused while it holds the database.
    private func between(_ rig: LineageRig, after calls: Int, _ body: @escaping @Sendable (Script) -> Void) throws {
        try application.run("PRAGMA synchronous = OFF")
        try application.run("PRAGMA busy_timeout = 0")
        let (script, count) = (Script(application), SharedCount())
        rig.monotonic = {
            if count.next() > calls { body(script) }
            return steadyTime()
        }
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
        let isSame = restored == reference.withLock { $0 }
        #expect(isSame)
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
        let done = SharedCount()
        try between(rig, after: 12) { script in
            guard done.value == 0 else { return }
            if script.run("UPDATE t SET n = n + 1, body = randomblob(800) WHERE id % 100 = 3") { done.next() }
        }
        let first = try await taken(rig)
        #expect(done.value == 1)
        #expect(first.writerWait?.heldThroughout == false)
    }

    @Test func aTransactionThatSpilledAndWasRolledBackIsNotMixedIn() async throws {
        let rig = try rig(3)
        try application.run("PRAGMA cache_size = 5")
        let done = SharedCount()
        try between(rig, after: 12) { script in
            if script.run("BEGIN; UPDATE t SET n = 9; ROLLBACK") { done.next() } else { script.run("ROLLBACK") }
        }
        // The file was written, so it does not count as one commit; what comes back is the one that is pinned.
        let first = try await taken(rig)
        #expect(done.value > 0)
        #expect(first.writerWait?.heldThroughout == true)
    }

    @Test(arguments: [0, 64 << 10, 32 << 20])
    func whereSomebodyAlwaysCommitsItIsHeldOnce(keptBytes: Int) async throws {
        let rig = try rig(UInt64(4 + keptBytes))
        rig.options.maximumKeptBytes = keptBytes
        let step = SharedCount()
        try between(rig, after: 0) { script in
            script.run("UPDATE t SET n = n + 1, body = randomblob(800) WHERE id % 211 = \(step.next() % 211)")
        }
        let first = try await taken(rig)
        #expect(first.writerWait?.heldThroughout == true)
        #expect(first.manifest.publicPart.isFull)
    }
}

/// An application that runs statements from whichever thread asks.
///
/// `@unchecked Sendable`: it is touched under the lock only.
private final class Script: @unchecked Sendable {
    private let turn = Mutex(())
    private let application: ApplicationProcess

    init(_ application: ApplicationProcess) { self.application = application }

    /// - Returns: false if it was refused.
    @discardableResult
    func run(_ statement: String) -> Bool {
        turn.withLock { _ in
            do { try application.run(statement) } catch { return false }
            return true
        }
    }
}

private final class SharedCount: Sendable {
    private let count = Atomic(0)

    var value: Int { count.load(ordering: .relaxed) }

    @discardableResult
    func next() -> Int { count.add(1, ordering: .relaxed).newValue }
}
