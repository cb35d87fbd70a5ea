import Foundation
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Synchronization
import Testing

@testable import MusterAgent
@testable import MusterStore

@Suite("The certificate that a store is served with", .timeLimit(.minutes(10)))
struct ServingIdentityTests {
    @Test func aRenewedOneIsTakenUpWithoutARestart() async throws {
        let rig = try NodeStoreRig()
        try rig.keep(try rig.nodePair(rig.node, at: NodeStoreRig.now - .seconds(31 * 86_400)))
        // A look at the files lies between two sleeps of a minute.
        let (turns, turn) = AsyncStream<Void>.makeStream()
        let gate = Gate()
        try await rig.serve(
            sleep: { span in
                guard span == .seconds(60) else { return try await Task.sleep(for: span) }
                turn.yield()
                await gate.pass()
            }
        ) { port in
            var looks = turns.makeAsyncIterator()
            await looks.next()
            let error = await #expect(throws: StoreError.self) { _ = try await rig.store(port: port).freeBytes() }
            #expect(error?.summary.contains("expired") == true)
            let pair = try rig.nodePair(rig.node)
            // In the middle of a renewal the two do not belong together: what was there goes on.
            try MusterAgent.PrivateFile.write(pair.key, to: rig.directory.certificateKeyFile)
            await gate.open()
            await looks.next()
            await #expect(throws: StoreError.self) { _ = try await rig.store(port: port).freeBytes() }
            try rig.keep(pair)
            await gate.open()
            await looks.next()
            // Whatever comes of it, the server must come to its end.
            await gate.openForGood()
            #expect(try await rig.store(port: port).freeBytes() > 0)
        }
    }

    @Test func aPairThatDoesNotBelongTogetherIsNotServed() async throws {
        let rig = try NodeStoreRig()
        let (ours, other) = (try rig.nodePair(rig.node), try rig.nodePair(rig.node))
        try rig.keep(TLSFiles.Identity(certificate: ours.certificate, key: other.key))
        await #expect(throws: AgentDirectoryError.self) { try await rig.serve { _ in } }
    }

    @Test func twoProcessesDoNotRenewAtOnce() async throws {
        let rig = try NodeStoreRig()
        try rig.keep(try rig.nodePair(rig.node, at: NodeStoreRig.now - .seconds(20 * 86_400)))
        let renewal = Renewal(
            directory: rig.directory, identity: NodeIdentity(node: rig.node, from: .system), url: "https://127.0.0.1:1",
            environment: NodeStoreRig.environment())
        // Nobody is there to renew with.
        await #expect(throws: (any Error).self) { try await renewal.renewIfDue() }
        let lock = open(rig.directory.certificateKeyFile + ".lock", O_RDWR | O_CLOEXEC)
        defer { close(lock) }
        try #require(flock(lock, LOCK_EX | LOCK_NB) == 0)
        try await renewal.renewIfDue()
    }

    /// Lets one through each time it is opened.
    private actor Gate {
        private var openings = 0
        private var isOpen = false
        private var waiter: CheckedContinuation<Void, Never>?

        func open() {
            openings += 1
            letThrough()
        }

        func openForGood() {
            isOpen = true
            letThrough()
        }

        func pass() async {
            if openings == 0, !isOpen { await withCheckedContinuation { waiter = $0 } }
            openings = max(0, openings - 1)
        }

        private func letThrough() {
            waiter?.resume()
            waiter = nil
        }
    }
}
