import Crypto
import Foundation
import Logging
import MusterAPI
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import ServiceLifecycle
import SwiftProtobuf

@testable import MusterCoordinator

/// A coordinator's directory, made by `init`; servers can be started in it one after the other.
struct Rig: Sendable {
    let directory: TemporaryDirectory
    let clock: ManualClock
    let admin: AdminContext
    let place: CoordinatorDirectory

    /// gc runs when it is told to: by itself it would run whenever half a minute of real time is over, beside a test
    /// that moved the clock on. So does the schedule of inspections.
    ///
    /// - Parameter stores: so many folders in the rig's directory, `store1` and on; none for the coordinator's own.
    init(
        stores count: Int = 0, placement: String = "", verification: String = "verify_every: never, drill_every: never"
    ) async throws {
        directory = try TemporaryDirectory()
        // TLS compares certificates with the real time; the test moves this clock from there.
        clock = ManualClock(at: Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)))
        place = CoordinatorDirectory(path: directory.file("coordinator"))
        let settings = CoordinatorSettings(listen: ListenAddress(host: "127.0.0.1", port: 0))
        let outcome = try await Initialisation(
            directory: place, settings: settings,
            stores: (1..<count + 1).map { [directory] in directory.file("store\($0)") }, clock: clock, random: .system
        ).run()
        admin = outcome.admin
        var text = try String(contentsOfFile: place.settings, encoding: .utf8) + "gc_every: never\n"
        text += "verification: {\(verification)}\n"
        if !placement.isEmpty { text += "placement: {\(placement)}\n" }
        try PrivateFile.write(text, to: place.settings)
    }

    private init(_ other: Rig, admin: AdminContext, place: CoordinatorDirectory) {
        (directory, clock, self.admin, self.place) = (other.directory, other.clock, admin, place)
    }

    /// The same fleet with a coordinator that was rebuilt from some of its stores.
    ///
    /// - Parameter stores: folders; none for the rig's own.
    func rebuilt(
        from stores: [String], as name: String = "rebuilt", key: RecoveryKey? = nil,
        pause: @escaping @Sendable (Duration) async throws -> Void = { _ in },
        progress: @escaping @Sendable (Rebuild.Progress) -> Void = { _ in }
    ) async throws -> (rig: Rig, outcome: Rebuild.Outcome) {
        let new = CoordinatorDirectory(path: directory.file(name))
        let text = try String(contentsOfFile: place.recoveryKey, encoding: .utf8)
        let outcome = try await Rebuild(
            directory: new, address: Rebuild.Address(), stores: stores,
            recoveryKey: try key ?? RecoveryKey(fileText: text), clock: clock, random: .system, pause: pause,
            progress: progress
        ).run()
        return (Rig(self, admin: outcome.admin, place: new), outcome)
    }

    /// A machine that runs all tests at once may keep a disk from answering for as long.
    private static let patience = StorePatience(limit: .seconds(500), leastBytesPerSecond: 1 << 20)

    /// Starts a server, runs `body` and shuts the server down, whatever happens.
    ///
    /// - Parameter storePatience: a machine that runs all tests at once may keep a server from answering for minutes.
    @discardableResult
    func serve<Value: Sendable>(
        storePatience: Duration = .seconds(500),
        patience: @escaping @Sendable (String) -> StorePatience? = { _ in Self.patience },
        wrapStore: @escaping @Sendable (any Store) -> any Store = { $0 },
        _ body: @escaping @Sendable (Server) async throws -> Value
    ) async throws -> Value {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let service = try await CoordinatorService(
            directory: place, clock: clock, random: .system, logger: logger,
            storePatience: storePatience, patience: patience, wrapStore: wrapStore)
        let group = ServiceGroup(configuration: .init(services: [service], logger: logger))
        let running = Task { try await group.run() }
        let server = Server(
            rig: self, service: service, agentPort: await service.port(of: .agent),
            adminPort: await service.port(of: .admin), dashboardPort: await service.port(of: .dashboard))
        do {
            let value = try await body(server)
            await group.triggerGracefulShutdown()
            try await running.value
            return value
        } catch {
            await group.triggerGracefulShutdown()
            try await running.value
            throw error
        }
    }

    /// A node in a server of one test.
    static func serve(
        faults: [FaultyStore.Fault] = [], _ body: @escaping @Sendable (Server) async throws -> Void
    ) async throws {
        try await Rig().serve(wrapStore: { FaultyStore($0, faults: faults) }, body)
    }

    var adminIdentity: TLSFiles.Identity { .init(certificate: admin.certificate, key: admin.privateKey) }

    func folder(_ number: Int) -> String { directory.file("store\(number)") }

    func store(_ number: Int) async throws -> FolderStore {
        try await FolderStore.open(at: folder(number), name: "\(number)", random: .system, access: .readOnly)
    }

    func store() async throws -> FolderStore {
        try await FolderStore.open(
            at: place.store, name: "main", random: .system, access: .readOnly)
    }
}

/// A coordinator that runs, and clients for it.
struct Server: Sendable {
    let rig: Rig
    let service: CoordinatorService
    let agentPort: Int
    let adminPort: Int
    let dashboardPort: Int

    func url(_ plane: Plane) -> String {
        let port =
            switch plane {
            case .agent: agentPort
            case .admin: adminPort
            case .dashboard: dashboardPort
            }
        return "https://127.0.0.1:\(port)"
    }

    var asAdmin: Peer {
        Peer(server: self, identity: .init(certificate: rig.admin.certificate, key: rig.admin.privateKey))
    }
    var asAnonymous: Peer { Peer(server: self, identity: nil) }

    func invite(_ name: String) async throws -> JoinToken {
        var request = Muster_V1_TokenRequest()
        request.nodeName = name
        let answer: Muster_V1_TokenResponse = try await asAdmin.post(.admin, "/v1/tokens", request)
        guard let token = JoinToken(text: answer.token) else { throw Unexpected("token \(answer.token)") }
        return token
    }

    /// Invites a node and lets it join.
    func makeNode(_ name: String = "alpha") async throws -> TestNode {
        let token = try await invite(name)
        var node = try TestNode(name: name)
        let answer: Muster_V1_JoinResponse = try await asAnonymous.post(
            .agent, "/v1/join", try node.joinRequest(token))
        node.certificate = answer.certificate
        node.receiptKey = answer.receiptKey
        return node
    }

    func peer(_ node: TestNode) -> Peer {
        Peer(server: self, identity: .init(certificate: node.certificate, key: node.tlsKey.pemRepresentation))
    }
}

struct Unexpected: Error {
    let text: String
    init(_ text: String) { self.text = text }
}

/// One caller, with or without a certificate.
struct Peer: Sendable {
    let server: Server
    let identity: TLSFiles.Identity?

    struct Answer: Sendable {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]

        /// The fixed word of an error.
        var code: String { error.code }
        var error: Muster_V1_ErrorBody { (try? Muster_V1_ErrorBody(serializedBytes: body)) ?? .init() }
    }

    func send(
        _ plane: Plane, _ method: HTTPRequest.Method, _ path: String, _ body: [UInt8]? = nil,
        headers: [String: String] = ["accept": "application/x-protobuf", "content-type": "application/x-protobuf"]
    ) async throws -> Answer {
        var settings = HTTPClient.Settings()
        // A machine that runs all tests at once may keep the server from a handshake for longer than 10 seconds.
        settings.connectTimeout = .seconds(600)
        let tls = TLSFiles(authority: server.rig.admin.authority, identity: identity)
        let http = try HTTPClient(tls: tls, settings: settings)
        defer { http.shutdown() }
        let response = try await http.send(
            HTTPRequest(
                method, server.url(plane) + path, headers: headers, body: body.map { .bytes($0) } ?? .none,
                timeout: .seconds(600), stallTimeout: .seconds(600), maximumResponseBytes: 80 << 20))
        return Answer(status: response.status, headers: response.headers, body: response.body)
    }

    func tryPost(_ plane: Plane, _ path: String, _ message: some Message) async throws -> Answer {
        try await send(plane, .post, path, try message.serializedBytes())
    }

    func post<Reply: Message>(_ plane: Plane, _ path: String, _ message: some Message) async throws -> Reply {
        try decoded(try await tryPost(plane, path, message))
    }

    func get<Reply: Message>(_ plane: Plane, _ path: String) async throws -> Reply {
        try decoded(try await send(plane, .get, path))
    }

    func put(_ pack: Pack) async throws -> Answer { try await put(pack.id, pack.bytes) }

    func put(_ id: PackID, _ bytes: [UInt8]) async throws -> Answer {
        try await send(.agent, .put, "/v1/packs/\(id)", bytes)
    }

    func commit(_ manifest: Manifest, packs: [[UInt8]] = []) async throws -> Answer {
        var request = Muster_V1_CommitRequest()
        request.manifest = Data(manifest.bytes)
        request.packs = packs.map { Data($0) }
        return try await tryPost(.agent, "/v1/snapshots", request)
    }

    private func decoded<Reply: Message>(_ answer: Answer) throws -> Reply {
        guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
        return try Reply(serializedBytes: answer.body)
    }
}
