import Foundation
import Logging
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("Databases between two snapshots")
struct SourceSessionsTests {
    private let random = RandomSource.seeded(12)
    private let folder: TemporaryDirectory
    private let state: AgentState
    private let folders: FolderWatch
    private let sessions: SourceSessions
    private let board: DatabaseBoard
    private let database: ProtectedDatabase

    init() throws {
        folder = try TemporaryDirectory()
        state = try AgentState(path: folder.file("state.db"))
        folders = try #require(FolderWatch())
        let environment = AgentEnvironment(
            clock: ManualClock(at: Timestamp(microseconds: 1_800_000_000_000_000)), monotonic: { .seconds(1000) },
            sleep: { try await Task.sleep(for: $0) }, random: random, logger: Logger(label: "test"), cores: 1,
            version: "test")
        sessions = SourceSessions(
            state: state, files: BlockingPool(label: "test", width: 1), watch: WakeWatch(folders),
            environment: environment)
        database = ProtectedDatabase(
            id: DatabaseID(from: random), name: "a", path: folder.file("app/a.db"),
            schedule: try #require(Schedule(every: .seconds(60))))
        board = DatabaseBoard([database]) { _ in }
        try FileManager.default.createDirectory(atPath: folder.file("app"), withIntermediateDirectories: false)
    }

    private func write(_ statement: String) throws {
        try SQLiteConnection(path: database.path, access: .readWrite).execute(statement)
    }

    /// As if a snapshot of the database as it is now had been acknowledged.
    private func settle() throws {
        let pending = PendingCommit(
            database: database.id, lineage: LineageID(from: random), sequence: 0, snapshot: SnapshotID(from: random),
            manifest: [1], manifestHash: try #require(ManifestHash(bytes: random.bytes(32))), inlinePacks: [],
            packs: PackChanges(added: []), identity: "",
            fingerprint: try SourceIdentity.fingerprint(of: database.path), capturedAt: Timestamp(microseconds: 1))
        try state.keep(pending)
        try state.settle(pending, receipt: [], receivedAt: Timestamp(microseconds: 2))
    }

    @Test(.timeLimit(.minutes(1)), arguments: ["wal", "delete"])
    func anUnchangedDatabaseRestsUntilSomebodyWritesToIt(mode: String) async throws {
        try write("PRAGMA journal_mode = \(mode); CREATE TABLE t(a)")
        #expect(try await !sessions.isUnchanged(database), "there is no snapshot")
        try settle()
        #expect(try await sessions.isUnchanged(database))
        #expect(sessions.isResting(database.id))

        let bell = Bell()
        let (wakes, others) = (board.feed(ringing: bell, hearsOfWakes: true), board.feed(ringing: Bell()))
        _ = (wakes.take(), others.take())
        let (sessions, board) = (sessions, board)
        folders.start { sessions.note($0, board) }
        defer { folders.stop() }
        try write("INSERT INTO t VALUES (1)")
        await bell.waitForRing()
        #expect(wakes.take() == [database.id] && others.take().isEmpty)
        #expect(!sessions.isResting(database.id))
        #expect(try await !sessions.isUnchanged(database))
        #expect(!sessions.isResting(database.id))
    }

    @Test func whoWasReadAndIsNotFollowedNeedsNoSession() async throws {
        try write("CREATE TABLE t(a)")
        #expect(sessions.session(of: database.id).isEmpty)
        await sessions.rest(database)
        #expect(sessions.existing(of: database.id) == nil)
        #expect(folders.isWatched(folder.file("app")) && !sessions.isResting(database.id), "it was not looked at")
        await sessions.leave(database.id)
        #expect(try await !sessions.isUnchanged(database))
    }
}
