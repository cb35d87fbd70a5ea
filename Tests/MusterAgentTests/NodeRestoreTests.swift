import Foundation
import Logging
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterAgent

/// What an agent makes of orders by itself, whatever the coordinator says: here there is none that answers.
@Suite("An agent looks at what it is ordered to restore")
struct NodeRestoreTests {
    private let folder: TemporaryDirectory
    private let directory: AgentDirectory
    private let identity: NodeIdentity
    private let source = NodeIdentity(node: NodeID(from: .system), from: .system)
    private let recovery = RecoveryKey(from: .system)
    private let clock = ManualClock()

    init() throws {
        folder = try TemporaryDirectory()
        directory = AgentDirectory(path: folder.file("agent"))
        try directory.create()
        identity = NodeIdentity(node: NodeID(from: .system), from: .system)
        try identity.write(to: directory)
        try PrivateFile.write(
            Hex.encode(RecoveryKey(from: .system).publicKey.bytes) + "\n" + Hex.encode(recovery.publicKey.bytes) + "\n",
            to: directory.recoveryKeysFile)
        var configuration = AgentConfiguration(
            coordinatorURL: "https://localhost:1", nodeName: "edge", nodeID: identity.node)
        configuration.restoreInto = [folder.path]
        try directory.write(configuration)
    }

    private func terms(_ change: (inout RestoreGrant.Terms) -> Void = { _ in }) -> RestoreGrant.Terms {
        var terms = RestoreGrant.Terms(
            id: GrantID(from: .system), sourceNode: source.node, sourceKey: source.signingKey.verifyingKey,
            scope: source.scope, keyEpoch: 1, snapshot: SnapshotID(from: .system),
            contentRoot: SHA256Hasher.hash([1]), targetNode: identity.node, targetPath: folder.file("shop.db"),
            issuedAt: clock.now(), expiresAt: clock.now() + .seconds(3600))
        change(&terms)
        return terms
    }

    private func foreign(
        by sealer: RecoveryKey? = nil, to node: NodeIdentity? = nil,
        _ change: (inout RestoreGrant.Terms) -> Void = { _ in }
    ) throws -> RestoreGrant {
        let recipient = node ?? identity
        return try RestoreGrant(
            terms(change), secret: source.secret,
            to: GrantKey(of: recipient.node, signer: recipient.signingKey).publicKey, by: sealer ?? recovery,
            random: .system)
    }

    /// - Returns: why it ended; with nobody to read from, it always does.
    private func run(_ grant: RestoreGrant, job: String? = nil) async throws -> any ActionableError {
        let http = try HTTPClient(tls: TLSFiles(authority: TLSFiles.machine))
        defer { http.shutdown() }
        let coordinator = CoordinatorClient(
            http: http, url: "https://localhost:1",
            retry: .init(policy: RetryPolicy(maximumAttempts: 1), random: .system, clock: ContinuousClock()))
        // A pause outlasts the order, so that nobody waits for a coordinator that never comes.
        let clock = clock
        let environment = AgentEnvironment(
            clock: clock, monotonic: { .zero }, sleep: { _ in clock.advance(by: .seconds(3600)) }, random: .system,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, cores: 2, version: "test")
        let restoration = NodeRestore(
            coordinator: coordinator, directory: directory, identity: identity, lanes: 2, environment: environment)
        var message = Muster_V1_Job()
        (message.id, message.kind) = (job ?? grant.terms.id.description, "restore")
        message.grant = Data(grant.bytes)
        var outcome = Muster_V1_JobOutcome()
        do {
            try await restoration.run(message, &outcome)
        } catch let error as any ActionableError {
            return error
        }
        throw NothingRefused()
    }

    private struct NothingRefused: Error {}

    @Test func aGoodOrderGetsAsFarAsTheCoordinator() async throws {
        #expect(try await run(try foreign()) is CoordinatorError)
        let own = terms {
            ($0.sourceNode, $0.sourceKey) = (identity.node, identity.signingKey.verifyingKey)
            $0.scope = identity.scope
        }
        #expect(try await run(try RestoreGrant(own)) is CoordinatorError)
    }

    @Test func anOrderForAnotherNodeIsRefused() async throws {
        let error = try await run(try foreign { $0.targetNode = source.node })
        #expect(error.summary.contains("another node"))
        let mixed = try await run(try foreign(), job: GrantID(from: .system).description)
        #expect(mixed.summary.contains("another job"))
        #expect(try await run(try foreign(to: source)) is FormatError, "the seal is not for this node")
    }

    @Test func anOldOrderIsRefused() async throws {
        let grant = try foreign()
        clock.advance(by: .seconds(3600 + 299))
        #expect(try await run(grant) is CoordinatorError, "clocks differ by a little")
        clock.advance(by: .seconds(1))
        #expect(try await run(grant).summary.contains("good until"))
    }

    /// The coordinator knows the node's grant key, and could choose what the node writes.
    @Test func anOrderThatNoHolderOfARecoveryKeySealedIsRefused() async throws {
        #expect(try await run(try foreign(by: RecoveryKey(from: .system))).summary.contains("recovery key"))
    }

    @Test func anOwnOrderIsForTheNodesOwnScope() async throws {
        let strange = terms { ($0.sourceNode, $0.scope) = (identity.node, source.scope) }
        #expect(try await run(try RestoreGrant(strange)).summary.contains("no secret"))
    }

    /// With a key of its own the coordinator could have made a whole history up.
    @Test func anOwnOrderTakesTheNodesOwnSigningKey() async throws {
        let strange = terms { ($0.sourceNode, $0.scope) = (identity.node, identity.scope) }
        #expect(try await run(try RestoreGrant(strange)).summary.contains("another signing key"))
    }

    @Test func whatAKilledRestoreLeftIsRemovedInTheNextLife() throws {
        let (terms, unfinished) = (terms(), UnfinishedRestore(directory))
        let partial = SnapshotRestore.partialFile(
            for: terms.targetPath, random: UnfinishedRestore.mark(of: terms.id))
        try unfinished.remove()
        try unfinished.note(terms)
        for path in [partial, terms.targetPath] { try Data([1]).write(to: URL(filePath: path)) }
        try unfinished.remove()
        #expect(Set(try FileManager.default.contentsOfDirectory(atPath: folder.path)) == ["agent", "shop.db"])
        #expect(!FileManager.default.fileExists(atPath: directory.unfinishedRestoreFile))
        // In a folder that is gone, or that the owner took back, there is nothing to do.
        try unfinished.note(self.terms { $0.targetPath = folder.file("gone/shop.db") })
        #expect(throws: RestoreNotAllowed.self) { try unfinished.remove() }
        #expect(!FileManager.default.fileExists(atPath: folder.file("gone")))
    }

    /// One that waits for its folder is not pushed out by the next order.
    @Test func severalUnfinishedRestoresAreRemembered() throws {
        let unfinished = UnfinishedRestore(directory)
        let lost = terms { $0.targetPath = folder.file("away/shop.db") }
        let (other, third) = (terms(), terms { $0.targetPath = folder.file("odd\nname.db") })
        for terms in [lost, other, third] { try unfinished.note(terms) }
        try unfinished.forget(other.id)
        func partial(_ terms: RestoreGrant.Terms) -> String {
            SnapshotRestore.partialFile(for: terms.targetPath, random: UnfinishedRestore.mark(of: terms.id))
        }
        try FileManager.default.createDirectory(atPath: folder.file("later"), withIntermediateDirectories: true)
        for terms in [other, third] { try Data([1]).write(to: URL(filePath: partial(terms))) }
        #expect(throws: RestoreNotAllowed.self) { try unfinished.remove() }
        #expect(FileManager.default.fileExists(atPath: partial(other)), "that one had ended")
        #expect(!FileManager.default.fileExists(atPath: partial(third)))
        // The folder is back.
        try FileManager.default.moveItem(atPath: folder.file("later"), toPath: folder.file("away"))
        try Data([1]).write(to: URL(filePath: partial(lost)))
        try unfinished.remove()
        #expect(!FileManager.default.fileExists(atPath: partial(lost)))
        #expect(!FileManager.default.fileExists(atPath: directory.unfinishedRestoreFile))
    }

    @Test func aNoteOfAnEarlierVersionIsUnderstood() throws {
        let terms = terms()
        let partial = SnapshotRestore.partialFile(
            for: terms.targetPath, random: UnfinishedRestore.mark(of: terms.id))
        try Data([1]).write(to: URL(filePath: partial))
        try PrivateFile.write("\(terms.id)\n\(terms.targetPath)", to: directory.unfinishedRestoreFile)
        try UnfinishedRestore(directory).remove()
        #expect(!FileManager.default.fileExists(atPath: partial))
    }

    @Test func theOwnersWordCountsAsItStandsNow() async throws {
        var configuration = try directory.configuration()
        configuration.restoreInto = [folder.file("elsewhere")]
        try directory.write(configuration)
        #expect(try await run(try foreign()) is RestoreNotAllowed)
        configuration.restoreInto = []
        try directory.write(configuration)
        #expect(try await run(try foreign()) is RestoreNotAllowed)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["agent"])
    }
}
