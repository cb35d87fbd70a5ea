import MusterEngine
import MusterFormat
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("Agent state")
struct AgentStateTests {
    private let random = RandomSource.seeded(5)

    private func pending(_ database: DatabaseID, sequence: UInt64) throws -> PendingCommit {
        PendingCommit(
            database: database, lineage: LineageID(from: random), sequence: sequence,
            snapshot: SnapshotID(from: random), manifest: random.bytes(500),
            manifestHash: try #require(ManifestHash(bytes: random.bytes(32))),
            inlinePacks: [random.bytes(40), random.bytes(70)],
            packs: PackChanges(
                added: [try #require(PackID(bytes: random.bytes(32))), try #require(PackID(bytes: random.bytes(32)))]),
            identity: "1:2:4096", fingerprint: "f", capturedAt: Timestamp(microseconds: 7))
    }

    @Test func aKeptCommitSurvivesARestartByteForByte() throws {
        let folder = try TemporaryDirectory()
        let database = DatabaseID(from: random)
        let kept = try pending(database, sequence: 3)
        try AgentState(path: folder.file("state.db")).keep(kept)
        let state = try AgentState(path: folder.file("state.db"))
        #expect(try state.pending(for: database) == kept)
        #expect(try state.head(of: database) == nil)
    }

    @Test func aReceiptMovesTheHeadAndEndsTheCommitAtOnce() throws {
        let folder = try TemporaryDirectory()
        let state = try AgentState(path: folder.file("state.db"))
        let database = DatabaseID(from: random)
        let kept = try pending(database, sequence: 0)
        try state.keep(kept)
        try state.settle(kept, receipt: [1, 2, 3], receivedAt: Timestamp(microseconds: 9))
        #expect(try state.pending(for: database) == nil)
        let head = try #require(try state.head(of: database))
        #expect(head.manifestHash == kept.manifestHash)
        #expect(head.arePacksKnown)
        #expect(try state.livePacks(of: database) == kept.packs.added)
        #expect(head.receivedAt == Timestamp(microseconds: 9))
    }

    @Test func aForkIsRememberedUntilTheNewLineageIsAcknowledged() throws {
        let folder = try TemporaryDirectory()
        let database = DatabaseID(from: random)
        let origin = ForkOrigin(
            lineage: LineageID(from: random),
            head: Ancestor(
                snapshot: SnapshotID(from: random), manifestHash: try #require(ManifestHash(bytes: random.bytes(32)))))
        try AgentState(path: folder.file("state.db")).forgetHead(of: database, forkedFrom: origin)
        let state = try AgentState(path: folder.file("state.db"))
        #expect(try state.forkOrigin(of: database) == origin)
        let first = try pending(database, sequence: 0)
        try state.keep(first)
        #expect(try state.forkOrigin(of: database) == origin)
        try state.settle(first, receipt: [], receivedAt: Timestamp(microseconds: 1))
        #expect(try state.forkOrigin(of: database) == nil)
    }

    @Test func aHeadThatThisAgentSignedIsTakenOverAndAStrangersIsNot() throws {
        let folder = try TemporaryDirectory()
        let state = try AgentState(path: folder.file("state.db"))
        let database = DatabaseID(from: random)
        let own = try pending(database, sequence: 4)
        try state.keep(own)
        try state.dropPending(for: database)
        #expect(try state.adoptOwnManifest(own.manifestHash, of: database))
        let head = try #require(try state.head(of: database))
        #expect(head.sequence == 4)
        #expect(!head.arePacksKnown)
        let stranger = try #require(ManifestHash(bytes: random.bytes(32)))
        #expect(try state.adoptOwnManifest(stranger, of: database) == false)
        #expect(try state.head(of: database) == head)
    }

    @Test func aTryIsWrittenDownOnlyWhereItIsNews() throws {
        let folder = try TemporaryDirectory()
        let state = try AgentState(path: folder.file("state.db"))
        let database = DatabaseID(from: random)
        func attempt(_ second: Int64, failures: Int = 0) -> Attempt {
            Attempt(
                at: Timestamp(microseconds: second * 1_000_000), failuresInARow: failures,
                errorSummary: failures > 0 ? "away" : "", errorHint: "")
        }
        func stored() throws -> Attempt? { try AgentState(path: folder.file("state.db")).attempt(of: database) }
        let head = try pending(database, sequence: 0)
        try state.keep(head)
        try state.settle(head, receipt: [1], receivedAt: Timestamp(microseconds: 9))
        try state.record(attempt(100), for: database)
        try state.record(attempt(200), for: database)
        #expect(try state.attempt(of: database) == attempt(200))
        #expect(try stored()?.at == head.capturedAt, "the snapshot says that its try went well")
        for failures in 1...7 { try state.record(attempt(Int64(300 + failures), failures: failures), for: database) }
        #expect(try state.attempt(of: database)?.failuresInARow == 7)
        #expect(try stored() == attempt(304, failures: 4))
        try state.record(attempt(400), for: database)
        #expect(try stored() == attempt(400))
        try state.record(attempt(500), for: database)
        #expect(try stored() == attempt(400))
    }
}
