import Crypto
import Foundation
import MusterCoordinator
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import StressRig
import Testing
import X509

@testable import MusterStore

extension EndToEnd {
    @Suite("A store served on a node")
    struct StoreServeTests {
        @Test func aServerThatIsKilledLeavesNothingOfWhatWasUnderWay() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "keeper")
            let (port, path) = (try Fleet.freePorts(), fleet.path("served"))
            let arguments = [
                "store", "serve", "--dir", node.directory, "--path", path, "--listen", "127.0.0.1:\(port)",
            ]
            let server = try fleet.start(arguments)
            let store = try await client(fleet, node, port: port)
            try await eventually("a store that answers") { try await answers(store, server) }
            let whole = try name(1)
            try await store.put(whole, [UInt8](repeating: 7, count: 100_000))

            let bytes = RandomSource.seeded(8).bytes(32 << 20)
            let cut = try name(2)
            var request = store.connection.request(.put, cut)
            request.headers[NodeStoreWire.hashHeader] = Hex.encode(SHA256.hash(data: bytes))
            request.body = .bytes(bytes)
            request.maximumSendBytesPerSecond = 4 << 20
            let (progress, sent) = AsyncStream<Int>.makeStream()
            request.onBytesSent = { sent.yield($0) }
            let put = Task { [request] in try await store.connection.ask(request, about: cut) }
            for await count in progress where count > 8 << 20 { break }
            try await server.kill()
            await #expect(throws: StoreError.self) { _ = try await put.value }
            #expect(!incoming(path).isEmpty, "the kill did not come in the middle")

            let again = try fleet.start(arguments)
            try await eventually("a store that answers") { try await answers(store, again) }
            #expect(try await store.objects(.packs, maximumCount: 10).map(\.name) == [whole])
            #expect(try await store.byteCount(of: cut) == nil)
            #expect(incoming(path).isEmpty)
            try await store.put(cut, Array(bytes.prefix(1000)))
            again.signal(SIGTERM)
            #expect(try await again.end() == 0, "\(again.standardError)")
        }

        @Test func aProbeSaysWhatAStorePromises() async throws {
            let fleet = try await Fleet()
            // 'init' has looked already.
            #expect(try await fleet.json("store", "probe", "main", "--last")["store"].text == "main")
            let probe = try await fleet.json("store", "probe", "main")
            #expect(probe["store"].text == "main")
            let held = probe["findings"].list.filter { $0["outcome"].text == "held" }.map { $0["capability"].text }
            #expect(held == ["read-after-write", "create-only", "range-reads", "listing", "deletion"])
            #expect(try await fleet.json("store", "probe", "main", "--last") == probe)
            #expect(try await fleet.run("store", "probe", "nothing").status == 3)
        }

        @Test func aStoreIsGivenUpOnAPersonsSecondWord() async throws {
            let fleet = try await Fleet(stores: ["one", "two"])
            func placements() async throws -> [String] {
                try await fleet.json("store", "list").list.map(\.["placement"].text)
            }
            let name = try await fleet.json("store", "list").list[1]["name"].text
            let plan = try await fleet.run("store", "place", name, "lost")
            #expect(plan.status == 64 && plan.output.contains("would give up"), "\(plan)")
            #expect(try await placements() == ["active", "active"])
            #expect(try await fleet.run("store", "place", "nothing", "lost").status == 3)
            try await fleet.succeed("store", "place", name, "draining")
            try await fleet.succeed("store", "place", name, "lost", "--confirm")
            #expect(try await !placements().contains("draining"))
        }

        private func answers(_ store: NodeStore, _ server: Launched) async throws -> Bool {
            try #require(server.isRunning, "the store's server ended: \(server.standardError)")
            do {
                return try await store.freeBytes() > 0
            } catch StoreError.unavailable {
                return false
            }
        }

        private func incoming(_ path: String) -> [String] {
            // A folder that is gone holds nothing, and the expectation says so.
            (try? FileManager.default.contentsOfDirectory(atPath: path + "/incoming")) ?? []
        }

        private func name(_ seed: UInt64) throws -> ObjectName {
            let random = RandomSource.seeded(seed)
            return .pack(try #require(PackID(bytes: random.bytes(32))), Generation(from: random))
        }

        /// What the coordinator has: a certificate of its own authority.
        private func client(_ fleet: Fleet, _ node: Node, port: Int) async throws -> NodeStore {
            func text(_ name: String) throws -> String {
                try String(contentsOfFile: fleet.coordinatorDirectory + "/" + name, encoding: .utf8)
            }
            let authority = try Authority(
                certificatePEM: try text("authority.pem"), keyPEM: try text("authority-key.pem"))
            let key = P256.Signing.PrivateKey()
            let now = Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000))
            let issued = try authority.issueCoordinator(
                publicKey: Certificate.PublicKey(key.publicKey), random: .system, now: now)
            let nodes = try await fleet.json("node", "list").list
            let id = try #require(NodeID(nodes[0]["id"].text))
            return try NodeStore(
                name: "keeper", place: .init(host: "127.0.0.1", port: port, node: id),
                tls: TLSFiles(
                    authority: try authority.certificatePEM,
                    identity: .init(certificate: issued.pem, key: key.pemRepresentation)),
                spool: fleet.folder.url.path(percentEncoded: false),
                retry: .init(policy: RetryPolicy(maximumAttempts: 1), random: .system, clock: ContinuousClock()))
        }
    }
}
