import Foundation
import Logging
import MusterAPI
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterAgent
@testable import MusterCoordinator

@Suite("Certificates that renew themselves", .timeLimit(.minutes(10)))
struct RenewalTests {
    private static let day = Duration.seconds(86_400)

    /// A node's directory as 'agent join' makes it, and what renews its certificate.
    private static func join(_ server: Server, _ folder: TemporaryDirectory) async throws -> Renewal {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let start = ContinuousClock.now
        let environment = AgentEnvironment(
            clock: server.rig.clock, monotonic: { ContinuousClock.now - start },
            sleep: { try await Task.sleep(for: $0) }, random: .system, logger: logger, cores: 1, version: "test")
        let directory = AgentDirectory(path: folder.file("agent"))
        let configuration = try await Joining(directory: directory, environment: environment).join(
            try await server.invite("alpha"))
        let identity = try NodeIdentity(directory: directory, node: configuration.nodeID)
        return Renewal(
            directory: directory, identity: identity, url: configuration.coordinatorURL, environment: environment)
    }

    private static func peer(_ renewal: Renewal, _ server: Server) throws -> Peer {
        Peer(
            server: server,
            identity: .init(
                certificate: try PrivateFile.text(at: renewal.directory.certificateFile),
                key: try PrivateFile.text(at: renewal.directory.certificateKeyFile)))
    }

    @Test func halfOfItsLifeIsOver() async throws {
        try await Rig.serve { server in
            let folder = try TemporaryDirectory()
            // TLS goes by the real time: what was made in the past is good now.
            server.rig.clock.advance(by: Self.day * -16)
            let renewal = try await Self.join(server, folder)
            let first = try PrivateFile.text(at: renewal.directory.certificateFile)
            server.rig.clock.advance(by: Self.day * 14)
            try await renewal.renewIfDue()
            #expect(try PrivateFile.text(at: renewal.directory.certificateFile) == first, "it is too early")
            server.rig.clock.advance(by: Self.day * 2)
            let before = try Self.peer(renewal, server)
            try await renewal.renewIfDue()
            #expect(try PrivateFile.text(at: renewal.directory.certificateFile) != first)
            // The old one is good until its end: a request under way does not fail.
            #expect(try await before.send(.agent, .get, "/v1/snapshots").status == 200)
            #expect(try await Self.peer(renewal, server).send(.agent, .get, "/v1/snapshots").status == 200)
        }
    }

    @Test func anAgentThatWasOffForLongerThanItsCertificateLivedComesBack() async throws {
        try await Rig.serve { server in
            let folder = try TemporaryDirectory()
            server.rig.clock.advance(by: Self.day * -45)
            let renewal = try await Self.join(server, folder)
            server.rig.clock.advance(by: Self.day * 45)
            // It ran out two weeks ago by every clock: TLS itself turns it away.
            await #expect(throws: TransferError.self) {
                try await Self.peer(renewal, server).send(.agent, .get, "/v1/snapshots")
            }
            try await renewal.renewIfDue()
            #expect(try await Self.peer(renewal, server).send(.agent, .get, "/v1/snapshots").status == 200)
            let node: Muster_V1_Node = try await server.asAdmin.get(.admin, "/v1/nodes/alpha")
            let end = try #require(Timestamp(node.certificateExpiresAt))
            #expect(end > server.rig.clock.now() + Self.day * 29)
        }
    }

    @Test(arguments: ["retire", "revoke"]) func aNodeThatEndedDoesNot(verb: String) async throws {
        try await Rig.serve { server in
            let folder = try TemporaryDirectory()
            server.rig.clock.advance(by: Self.day * -45)
            let renewal = try await Self.join(server, folder)
            let _: Muster_V1_NodeEnded = try await server.asAdmin.post(
                .admin, "/v1/nodes/alpha/\(verb)", Muster_V1_NodeEndRequest())
            server.rig.clock.advance(by: Self.day * 45)
            await #expect(throws: CoordinatorError.self) { try await renewal.renewIfDue() }
        }
    }
}
