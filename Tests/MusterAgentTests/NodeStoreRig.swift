import Crypto
import Foundation
import Logging
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import ServiceLifecycle
import SwiftASN1
import X509

@testable import MusterAgent
@testable import MusterCoordinator
@testable import MusterStore

/// A fleet's authority, a node that joined it, and what its store is reached with.
struct NodeStoreRig {
    let folder: TemporaryDirectory
    let authority: Authority
    let node: NodeID
    let directory: AgentDirectory
    var quotaBytes: UInt64?

    init(quotaBytes: UInt64? = nil) throws {
        self.quotaBytes = quotaBytes
        folder = try TemporaryDirectory()
        authority = try Authority.make(random: .system, now: Self.now)
        node = NodeID(from: .system)
        directory = AgentDirectory(path: folder.file("agent"))
        try directory.create()
        let identity = NodeIdentity(node: node, from: .system)
        try identity.write(to: directory)
        try keep(try nodePair(node))
        try MusterAgent.PrivateFile.write(try authority.certificatePEM, to: directory.authorityFile)
        try directory.write(
            AgentConfiguration(coordinatorURL: "https://localhost:1", nodeName: "edge", nodeID: node))
        try FileManager.default.createDirectory(atPath: folder.file("spool"), withIntermediateDirectories: true)
    }

    /// TLS compares certificates with the real time.
    static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) }

    var storePath: String { folder.file("store") }
    var spoolPath: String { folder.file("spool") }

    func nodePair(_ node: NodeID, at now: Timestamp = Self.now) throws -> TLSFiles.Identity {
        let request = try CertificateRequest(for: node)
        let issued = try authority.issueNode(
            request: request.request, node: node, random: .system, now: now)
        return TLSFiles.Identity(certificate: issued.pem, key: request.privateKey)
    }

    /// Puts a certificate and its key where the node's are.
    func keep(_ pair: TLSFiles.Identity) throws {
        try MusterAgent.PrivateFile.write(pair.key, to: directory.certificateKeyFile)
        try MusterAgent.PrivateFile.write(pair.certificate, to: directory.certificateFile)
    }

    func coordinatorPair(lifetime: Duration = .seconds(3600)) throws -> TLSFiles.Identity {
        let key = P256.Signing.PrivateKey()
        let issued = try authority.issueCoordinator(
            publicKey: Certificate.PublicKey(key.publicKey), lifetime: lifetime, random: .system, now: Self.now)
        return TLSFiles.Identity(certificate: issued.pem, key: key.pemRepresentation)
    }

    func tls(_ identity: TLSFiles.Identity?) throws -> TLSFiles {
        TLSFiles(authority: try authority.certificatePEM, identity: identity)
    }

    static var settings: HTTPClient.Settings {
        var settings = HTTPClient.Settings()
        // A machine that runs all tests at once may keep the server from a handshake for longer than 10 seconds.
        settings.connectTimeout = .seconds(500)
        return settings
    }

    /// A client; by default with everything that a coordinator has.
    func store(
        port: Int, node: NodeID? = nil, tls: TLSFiles? = nil, maximumAttempts: Int = 1
    ) throws -> NodeStore {
        let policy = RetryPolicy(maximumAttempts: maximumAttempts, firstDelay: .milliseconds(1))
        return try NodeStore(
            name: "elsewhere", place: .init(host: "127.0.0.1", port: port, node: node ?? self.node),
            tls: try tls ?? self.tls(try coordinatorPair()), spool: spoolPath,
            retry: .init(policy: policy, random: .system, clock: ContinuousClock(), stallTimeout: .seconds(500)),
            settings: Self.settings)
    }

    /// Serves the store, runs `body` with the port, and shuts the server down, whatever happens.
    func serve(
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        _ body: (Int) async throws -> Void
    ) async throws {
        let environment = Self.environment(sleep: sleep)
        let service = try await NodeStoreService(
            directory: directory,
            settings: .init(path: storePath, host: "127.0.0.1", port: 0, quotaBytes: quotaBytes),
            environment: environment)
        let group = ServiceGroup(configuration: .init(services: [service], logger: environment.logger))
        let running = Task { try await group.run() }
        let outcome: Result<Void, any Error>
        do {
            try await body(await service.port())
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await group.triggerGracefulShutdown()
        try await running.value
        try outcome.get()
    }

    static func environment(
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) -> AgentEnvironment {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let start = ContinuousClock.now
        return AgentEnvironment(
            clock: SystemClock(), monotonic: { ContinuousClock.now - start }, sleep: sleep, random: .system,
            logger: logger, cores: 1, version: "test")
    }

    struct SystemClock: WallClock {
        func now() -> Timestamp { NodeStoreRig.now }
    }
}
