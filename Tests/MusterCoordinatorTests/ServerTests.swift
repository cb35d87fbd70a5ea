import Crypto
import Foundation
import Glibc
import MusterAPI
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("The listeners")
struct ServerTests {
    /// Runs the curl program; - Returns: its exit status and what it printed.
    ///
    /// It blocks, so it has threads of its own: the server in this process needs the others.
    static func curl(
        _ server: Server, _ arguments: [String]
    ) async throws -> (status: Int32, output: String) {
        try await pool.run { try runCurl(server, arguments) }
    }

    /// One at a time: on Linux these threads are of the same few as those that the servers of this process work on, and
    /// two that wait for answers on a machine of two cores are all of them.
    static let pool = BlockingPool(label: "curl", width: 1)

    private static func runCurl(_ server: Server, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let authority = server.rig.directory.file("authority-of-curl-\(arguments.count).pem")
        try server.rig.admin.authority.write(toFile: authority, atomically: true, encoding: .utf8)
        return try ChildProcess.run(
            "curl", ["-s", "-S", "--max-time", "60", "--cacert", authority] + arguments, within: .seconds(90))
    }

    @Test(arguments: Plane.allCases)
    func takeNoPlaintextAndNoOldTLS(plane: Plane) async throws {
        try await Rig.serve { server in
            let secure = server.url(plane) + "/v1/snapshots"
            let plain = secure.replacing("https:", with: "http:")
            let answer = try await Self.curl(server, [plain])
            #expect(answer.status != 0 && !answer.output.contains("unauthenticated"))
            #expect(try await Self.curl(server, ["--tls-max", "1.2", secure]).status == 35)
            guard plane == .agent else { return }
            #expect(try await Self.curl(server, [secure]).output.contains("unauthenticated"))
        }
    }

    @Test func answerTheSameInJSONAndProtobuf() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let peer = server.peer(node)
            #expect(try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            for path in ["/v1/snapshots", "/v1/snapshots/\(snapshot.id)", "/v1/status", "/v1/nodes", "/v1/nodes/alpha"]
            {
                let binary = try await server.asAdmin.send(.admin, .get, path)
                let text = try await server.asAdmin.send(.admin, .get, path, headers: ["accept": "application/json"])
                #expect(binary.headers["content-type"] == "application/x-protobuf")
                #expect(text.headers["content-type"] == "application/json")
                let json = String(decoding: text.body, as: UTF8.self)
                switch path {
                case "/v1/snapshots":
                    #expect(
                        try Muster_V1_SnapshotList(jsonString: json)
                            == Muster_V1_SnapshotList(serializedBytes: binary.body))
                    #expect(json.contains("\"size_bytes\":65536"))
                case "/v1/status":
                    #expect(try Muster_V1_Status(jsonString: json).snapshotCount == 1)
                default:
                    #expect(!json.isEmpty)
                }
            }
            let sent = try await server.asAdmin.send(
                .admin, .post, "/v1/tokens", Array("{\"node_name\":\"beta\"}".utf8),
                headers: ["content-type": "application/json"])
            #expect(sent.status == 200)
            #expect(try Muster_V1_TokenResponse(jsonUTF8Bytes: sent.body).token.hasPrefix("muster-join-1."))
            let unknown = try await server.asAdmin.send(
                .admin, .post, "/v1/tokens", Array("{\"name\":\"beta\"}".utf8),
                headers: ["content-type": "application/json"])
            #expect(unknown.status == 400)
            let other = try await server.asAdmin.send(
                .admin, .post, "/v1/tokens", Array("a=b".utf8), headers: ["content-type": "text/plain"])
            #expect(other.status == 400)
        }
    }

    @Test func boundWhatAPeerMaySend() async throws {
        try await Rig.serve { server in
            let url = server.url(.agent) + "/v1/join"
            let header = try await Self.curl(
                server,
                ["-o", "/dev/null", "-w", "%{http_code}", "-H", "x: " + String(repeating: "a", count: 20_000), url])
            #expect(header.output.contains("400") || header.output.contains("431"), "\(header)")
            let body = try await server.asAnonymous.send(
                .agent, .post, "/v1/join", [UInt8](repeating: 0, count: (64 << 10) + 1))
            #expect(body.status == 413 && body.code == "too_large")
            let node = try await server.makeNode()
            let missing = try await server.peer(node).send(
                .agent, .post, "/v1/chunks/missing", Array(Self.missing(chunks: 8193)))
            #expect(missing.status == 400)
            #expect(
                try await server.peer(node).send(.agent, .post, "/v1/chunks/missing", Self.missing(chunks: 8192)).status
                    == 200)
        }
    }

    /// The authorisation comes before the body, so a stranger cannot make the coordinator read 64 MiB.
    @Test func refuseEarlyAndHangUp() async throws {
        try await Rig.serve { server in
            let file = server.rig.directory.file("large")
            #expect(FileManager.default.createFile(atPath: file, contents: Data(count: 8 << 20)))
            let url = server.url(.agent) + "/v1/packs/" + String(repeating: "0", count: 64)
            let answer = try await Self.curl(server, ["-i", "-T", file, url])
            #expect(answer.output.lowercased().contains("connection: close"))
            #expect(answer.output.contains(" 401 "))
        }
    }

    @Test func anUploadWithoutALengthIsRefused() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let (certificate, key) = (server.rig.directory.file("c.pem"), server.rig.directory.file("k.pem"))
            try node.certificate.write(toFile: certificate, atomically: true, encoding: .utf8)
            try node.tlsKey.pemRepresentation.write(toFile: key, atomically: true, encoding: .utf8)
            let url = server.url(.agent) + "/v1/packs/" + String(repeating: "0", count: 64)
            let answer = try await Self.curl(
                server,
                [
                    "--cert", certificate, "--key", key, "-X", "PUT", "-H", "Transfer-Encoding: chunked", "-d", "abc",
                    "-w", "%{http_code}", url,
                ])
            #expect(answer.output.contains("411") && answer.output.contains("length_required"))
        }
    }

    @Test func aLengthNearTheLargestNumberIsRefused() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let (certificate, key) = (server.rig.directory.file("c.pem"), server.rig.directory.file("k.pem"))
            try node.certificate.write(toFile: certificate, atomically: true, encoding: .utf8)
            try node.tlsKey.pemRepresentation.write(toFile: key, atomically: true, encoding: .utf8)
            for path in ["/v1/snapshots", "/v1/report", "/v1/work"] {
                let answer = try await Self.curl(
                    server,
                    [
                        "--cert", certificate, "--key", key, "-X", "POST", "-H", "Expect:",
                        "-H", "Content-Length: 9223372036854775807", "-d", "abc", "-w", "%{http_code}",
                        server.url(.agent) + path,
                    ])
                #expect(answer.output.contains("413"), "\(path): \(answer)")
            }
        }
    }

    @Test func oneAddressMayNotTakeAllConnections() async throws {
        let rig = try await Rig()
        let settings = try String(contentsOfFile: rig.place.settings, encoding: .utf8)
        try (settings + "limits:\n  connections_per_address: 4\n").write(
            toFile: rig.place.settings, atomically: false, encoding: .utf8)
        try await rig.serve { server in
            let taken = try await Self.pool.run { try (0..<5).map { _ in try Self.connect(server.agentPort) } }
            // Which of the five comes last is up to the server's threads; one of them is not let in.
            #expect(try await Self.pool.run { Self.waitsForAClosedOne(taken) })
            // A place that is given back can be taken again.
            for descriptor in taken { close(descriptor) }
            var answer = ""
            for _ in 0..<100 where !answer.contains("unauthenticated") {
                answer = try await Self.curl(server, [server.url(.agent) + "/v1/snapshots"]).output
            }
            #expect(answer.contains("unauthenticated"))
        }
    }

    static func connect(_ port: Int) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
        return descriptor
    }

    /// Waits until the peer has ended one of the connections, at most 20 seconds.
    private static func waitsForAClosedOne(_ descriptors: [Int32]) -> Bool {
        var watched = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard poll(&watched, nfds_t(watched.count), 20_000) > 0 else { return false }
        return watched.contains { watched in
            var byte: UInt8 = 0
            return watched.revents != 0 && recv(watched.fd, &byte, 1, 0) <= 0
        }
    }

    @Test func oneDirectoryHasOneCoordinator() async throws {
        let rig = try await Rig()
        try await rig.serve { _ in
            await #expect(throws: CoordinatorSetupError.alreadyRunning(path: rig.place.path)) {
                try await rig.serve { _ in }
            }
        }
        // And when the first has ended, the next may start.
        try await rig.serve { _ in }
    }

    private static func missing(chunks: Int) -> [UInt8] {
        var request = Muster_V1_MissingRequest()
        request.chunkIds = Data(count: chunks * 32)
        return (try? request.serializedBytes()) ?? []
    }
}
