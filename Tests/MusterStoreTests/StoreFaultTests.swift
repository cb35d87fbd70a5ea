import Foundation
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterStore

@Suite("A store that fails")
struct StoreFaultTests {
    /// A file system of 1 MiB. Mounting needs a privilege that not every machine gives to a test.
    final class SmallDisk {
        let directory: TemporaryDirectory

        init?(bytes: Int) throws {
            directory = try TemporaryDirectory()
            guard try Self.run("mount", "-t", "tmpfs", "-o", "size=\(bytes),mode=0700", "t", directory.path) else {
                return nil
            }
        }

        func makeReadOnly() throws { #expect(try Self.run("mount", "-o", "remount,ro", directory.path)) }

        deinit {
            // Lazily: what is still open goes when it is closed. Nothing can be done here if it fails.
            _ = try? Self.run("umount", "-l", directory.path)
        }

        static func run(_ tool: String, _ arguments: String...) throws -> Bool {
            try ChildProcess.run(tool, arguments).status == 0
        }
    }

    /// A machine that does not let us mount throws here.
    static let canMount = (try? SmallDisk(bytes: 1 << 20)) != nil

    @Test(.enabled(if: canMount)) func aFullDiskIsSaidAndLeavesNothing() async throws {
        let disk = try #require(try SmallDisk(bytes: 1 << 20))
        let store = try await FolderStore.create(
            at: disk.directory.path, name: "small", random: .seeded(1), clock: ManualClock())
        try await store.put(.some(1), [UInt8](repeating: 1, count: 100_000))
        let writer = try await store.beginPut()
        await #expect(throws: StoreError.full(store: "small")) {
            for _ in 0..<30 { try await writer.write([UInt8](repeating: 2, count: 100_000)) }
        }
        await #expect(throws: StoreError.writerClosed(store: "small")) { try await writer.commit(as: .some(2)) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: disk.directory.file("incoming")).isEmpty)
        #expect(try await store.objects(.packs, maximumCount: 9).map(\.name) == [.some(1)])
        try await store.put(.some(3), [UInt8](repeating: 1, count: 100_000))
    }

    @Test(.enabled(if: canMount)) func aReadOnlyDiskIsSaidAndStillRead() async throws {
        let disk = try #require(try SmallDisk(bytes: 1 << 20))
        let made = try await FolderStore.create(
            at: disk.directory.path, name: "small", random: .seeded(1), clock: ManualClock())
        try await made.put(.some(1), [1])
        try disk.makeReadOnly()
        await #expect(throws: StoreError.readOnly(store: "small")) { try await made.put(.some(2), [1]) }
        await #expect(throws: StoreError.readOnly(store: "small")) { try await made.delete(.some(1)) }
        let again = try await FolderStore.open(
            at: disk.directory.path, name: "small", random: .seeded(1), access: .readOnly)
        #expect(try await again.read(.some(1), maximumBytes: 1, fresh: true) == [1])
    }

    @Test func aFailedCommitAcknowledgesNothing() async throws {
        let error = StoreError.failed(store: "disk", object: "", operation: "make durable", code: EIO)
        for isApplied in [false, true] {
            let store = FaultyStore(MemoryStore(), faults: [.failCommit(1, error, isApplied: isApplied)])
            await #expect(throws: error) { try await store.put(.some(1), [1]) }
            #expect(try await store.byteCount(of: .some(1)) == (isApplied ? 1 : nil))
        }
    }

    @Test func faultsHitTheCallTheyName() async throws {
        let store = FaultyStore(
            MemoryStore(),
            faults: [
                .failPut(2, .full(store: "m")), .failRead(1, .readOnly(store: "m")), .flipBit(ofRead: 2, bit: 9),
                .truncate(read: 3, byteCount: 1),
            ])
        try await store.put(.some(1), [1, 2, 3])
        await #expect(throws: StoreError.full(store: "m")) { try await store.put(.some(2), [1]) }
        await #expect(throws: StoreError.readOnly(store: "m")) { try await store.read(.some(1), maximumBytes: 3) }
        #expect(try await store.read(.some(1), maximumBytes: 3) == [1, 0, 3])
        #expect(try await store.read(.some(1), maximumBytes: 3) == [1])
        #expect(try await store.read(.some(1), maximumBytes: 3) == [1, 2, 3])
    }

    @Test func aRequestThatIsCancelledIsNoAbsence() async throws {
        let retry = StoreRetry(
            policy: RetryPolicy(maximumAttempts: 1), random: .seeded(1), clock: ContinuousClock())
        for error in [TransferError.cancelled(server: "s") as any Error, CancellationError()] {
            await #expect(throws: StoreError.cancelled(store: "disk")) {
                _ = try await retry.run(store: "disk", object: nil) { throw error }
            }
        }
        #expect(!StoreError.cancelled(store: "disk").meansAbsence)
        await #expect {
            _ = try await retry.run(store: "disk", object: nil) { throw TransferError.exhausted(detail: "") }
        } throws: { ($0 as? StoreError)?.meansAbsence == true }
    }

    @Test(arguments: [
        (EMFILE, true), (EINTR, true), (EIO, false), (EACCES, false),
    ])
    func onlyPassingTroubleIsTriedAgain(code: Int32, isTransient: Bool) {
        let error = StoreError(SystemFailure("read", code: code), store: "disk", object: nil)
        #expect(error.isTransient == isTransient)
        #expect(error.summary.hasPrefix("store 'disk' failed to read: "))
    }
}
