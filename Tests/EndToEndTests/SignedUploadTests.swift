import Foundation
import MusterStore
import MusterTestSupport
import StressRig
import Testing

extension EndToEnd {
    /// How many bytes a node sends to its coordinator is counted between the two, whatever they say themselves.
    @Suite("Packs that go straight to an S3 server")
    struct SignedUploadTests {
        private static let settings = "placement:\n  replicas: 2\ngc_every: never\n"
        private static let kibibytes = 3000

        /// A fleet with a folder and a bucket that was proven when it was added.
        private static func makeFleet(
            _ server: S3Server, settings: String = settings
        ) async throws -> (fleet: Fleet, address: S3Address) {
            let address = try server.address("signed-\(UUID().uuidString)")
            let fleet = try await Fleet(stores: ["near"], settings: settings)
            try await fleet.succeed(
                "store", "add", address.description, "--name", "bucket", "--credentials", server.credentialsFile)
            return (fleet, address)
        }

        @Test func theCoordinatorSeesNoContent() async throws {
            let (fleet, _) = try await Self.makeFleet(try S3Server.seaweed.get())
            let (node, meter) = try await Self.makeMeteredNode(fleet)
            let path = try SampleDatabase.make(fleet.path("shop.db"), kibibytes: Self.kibibytes)
            try await node.add(path)
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            let sent = try meter.bytes()
            #expect(sent < Self.kibibytes * 100, "\(sent) bytes went to the coordinator")
            let log = try fleet.runningCoordinator().standardError
            #expect(log.contains("pack claimed"), "\(log)")
            try await eventually("a replica in each store") {
                try await fleet.snapshots()[0]["replicas"].list.count { $0["state"].text == "present" } == 2
            }
            #expect(try await fleet.succeed("verify", id, "--level", "scrub", "--wait").status == 0)
            try await fleet.expectRestored(id, equals: path)
            // From the bucket alone, too.
            try FileManager.default.removeItem(atPath: fleet.path("near/packs"))
            try await fleet.expectRestored(id, equals: path)
        }

        @Test func switchedOffItGoesThroughTheCoordinator() async throws {
            let (fleet, _) = try await Self.makeFleet(
                try S3Server.seaweed.get(), settings: Self.settings + "signed_uploads: off\n")
            try await Self.expectThroughTheCoordinator(fleet)
        }

        /// rclone lets a second put replace an object: a replica there is none.
        @Test func aServerThatReplacesObjectsIsRefusedAsAStore() async throws {
            let server = try S3Server.rclone.get()
            let url = try server.address("signed-\(UUID().uuidString)").description
            let fleet = try await Fleet()
            let store = ["--store", url, "--credentials", server.credentialsFile]
            let refused = try await fleet.run(
                ["coordinator", "init", "--dir", fleet.path("other"), "--context", fleet.path("other.json")] + store)
            #expect(refused.status == 1 && refused.errors.contains("it lacks create-only"), "\(refused.errors)")
            let added = try await fleet.run(["store", "add", url, "--name", "second"] + store.dropFirst(2))
            #expect(added.status == 1 && added.errors.contains("it lacks create-only"), "\(added.errors)")
        }

        /// The server dies when it is to be used: the folder takes what it would have taken.
        @Test func aStoreThatGoesAwayIsNotWaitedFor() async throws {
            let server = Server(try S3Server(.seaweed))
            let (fleet, _) = try await Self.makeFleet(try #require(server.running))
            server.running = nil
            try await Self.expectThroughTheCoordinator(fleet)
        }

        private final class Server {
            var running: S3Server?
            init(_ server: S3Server) { running = server }
        }

        private static func expectThroughTheCoordinator(_ fleet: Fleet) async throws {
            let (node, meter) = try await makeMeteredNode(fleet)
            let path = try SampleDatabase.make(fleet.path("shop.db"), kibibytes: kibibytes)
            try await node.add(path)
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            let sent = try meter.bytes()
            #expect(sent > kibibytes * 900, "only \(sent) bytes went to the coordinator")
            #expect(try !fleet.runningCoordinator().standardError.contains("pack claimed"))
            try await fleet.expectRestored(id, equals: path)
        }

        @Test func whatADeadAgentLeftIsDeletedByItsName() async throws {
            let server = try S3Server.seaweed.get()
            let (fleet, address) = try await Self.makeFleet(server)
            let node = try await Node(fleet, "edge")
            let path = try SampleDatabase.make(fleet.path("shop.db"), kibibytes: Self.kibibytes)
            try await SampleDatabase.rest(path)
            try await node.add(path)
            let dying = try node.start(environment: ["MUSTER_CRASH_AT": "pack-uploaded"])
            #expect(try await dying.end() == 137, "\(dying.standardError)")
            let left = try await server.packs(of: address)
            #expect(left.count == 1)
            #expect(try await fleet.snapshots().isEmpty)

            // The coordinator dies too, and comes back after a day.
            try await fleet.runningCoordinator().kill()
            try SampleDatabase.change(
                fleet.coordinatorDirectory + "/catalog.db", "UPDATE upload_grant SET expires_at = 1")
            try await fleet.startCoordinator()
            try await eventually("nothing left in the bucket") {
                try await fleet.succeed("gc", "run")
                return try await server.packs(of: address).isEmpty
            }
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await fleet.expectRestored(id, equals: path)
            #expect(try await server.packs(of: address).isDisjoint(with: left), "a name was used again")
        }

        /// A node that reaches its coordinator through a meter.
        private static func makeMeteredNode(_ fleet: Fleet) async throws -> (Node, Meter) {
            let node = try await Node(fleet, "edge")
            let meter = try Meter(before: fleet.port, in: fleet)
            let file = node.directory + "/agent.yaml"
            let text = try String(contentsOfFile: file, encoding: .utf8)
            let changed = text.replacing("127.0.0.1:\(fleet.port)", with: "127.0.0.1:\(meter.port)")
            #expect(changed != text)
            try changed.write(toFile: file, atomically: true, encoding: .utf8)
            return (node, meter)
        }
    }
}

/// Hands connections on to a port of this machine, and counts the bytes that clients send.
private final class Meter {
    let port: Int
    private let count: String
    private let process: ChildProcess

    init(before port: Int, in fleet: Fleet) throws {
        count = fleet.path("meter-\(UUID().uuidString)")
        process = try ChildProcess("python3", ["-c", Self.program, "\(port)", count], output: .reader)
        let line = try process.readLine(within: .seconds(240)) ?? ""
        self.port = try #require(Int(line), "the meter said '\(line)'")
    }

    func bytes() throws -> Int {
        Int(try String(contentsOfFile: count, encoding: .utf8).split(separator: "\n").last ?? "") ?? 0
    }

    private static let program = """
        import socket, sys, threading
        upstream, log, lock, total = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1), threading.Lock(), 0
        def pump(source, sink, counts):
            global total
            try:
                while piece := source.recv(65536):
                    if counts:
                        with lock:
                            total += len(piece)
                            log.write(f"{total}\\n")
                    sink.sendall(piece)
            except OSError:
                pass
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        server = socket.create_server(("127.0.0.1", 0))
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            try:
                there = socket.create_connection(("127.0.0.1", upstream))
            except OSError:
                client.close()
                continue
            for ends in ((client, there, True), (there, client, False)):
                threading.Thread(target=pump, args=ends, daemon=True).start()
        """
}
