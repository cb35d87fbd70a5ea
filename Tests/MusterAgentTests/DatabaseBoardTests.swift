import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterAgent

@Suite("Database board")
struct DatabaseBoardTests {
    private let random = RandomSource.seeded(11)

    private func database(_ name: String, isPaused: Bool = false) throws -> ProtectedDatabase {
        ProtectedDatabase(
            id: DatabaseID(from: random), name: name, path: "/" + name,
            schedule: try #require(Schedule(every: .seconds(1))), isPaused: isPaused)
    }

    private func paused(_ database: ProtectedDatabase) -> ProtectedDatabase {
        var database = database
        database.isPaused = true
        return database
    }

    @Test func whoLeavesIsCutOffBeforeItIsLetGo() async throws {
        let database = try database("shop")
        let events = Record()
        let board = DatabaseBoard([database]) { id in events.add(id == database.id ? "let go" : "another") }
        let atWork = Bell()
        let work = Task {
            try await board.exclusively(database.id) {
                atWork.ring()
                // Ends when it is cancelled, as a capture does.
                await Bell().waitForRing()
                events.add("cut off")
                throw Broken()
            }
        }
        await atWork.waitForRing()
        await board.replace(with: [paused(database)])
        #expect(events.all == ["cut off", "let go"])
        await #expect(throws: CancellationError.self) { try await work.value }
        #expect(!board.isBusy(database.id))
    }

    @Test func whoCameForTheOldFileDoesNotWorkOnTheNewOne() async throws {
        let database = try database("shop")
        let moved = ProtectedDatabase(
            id: database.id, name: database.name, path: "/elsewhere", schedule: database.schedule)
        let (atWork, isLeaving, mayLeave) = (Bell(), Bell(), Bell())
        let board = DatabaseBoard([database]) { _ in
            isLeaving.ring()
            await mayLeave.waitForRing()
        }
        let first = Task {
            try await board.exclusively(database.id) {
                atWork.ring()
                await Bell().waitForRing()
            }
        }
        await atWork.waitForRing()
        let inLine = Task { try await board.exclusively(database.id) { Issue.record("for the old file") } }
        let leaving = Task { await board.replace(with: [moved]) }
        await isLeaving.waitForRing()
        // It is back on the board, but what is open of the old file is not closed yet.
        await #expect(throws: CancellationError.self) {
            try await board.exclusively(database.id) { Issue.record("before the agent has let go") }
        }
        mayLeave.ring()
        await leaving.value
        await #expect(throws: CancellationError.self) { try await inLine.value }
        _ = await first.result
        #expect(try await board.exclusively(database.id) { "worked" } == "worked")
    }

    @Test("letting go is for whom the agent worked on", arguments: ["gone", "paused", "moved", "kept", "was paused"])
    func lettingGoIsForWhomTheAgentWorkedOn(what: String) async throws {
        let old = try database("shop", isPaused: what == "was paused")
        let left = Record()
        let board = DatabaseBoard([old]) { id in left.add("\(id)") }
        let moved = ProtectedDatabase(id: old.id, name: old.name, path: "/elsewhere", schedule: old.schedule)
        let new: [ProtectedDatabase] =
            switch what {
            case "gone", "was paused": []
            case "paused": [paused(old)]
            case "moved": [moved]
            default: [old]
            }
        await board.replace(with: new)
        #expect(left.all == (["gone", "paused", "moved"].contains(what) ? ["\(old.id)"] : []))
        #expect(board.databases == new)
    }

    @Test func whatThrowsOfItselfSaysWhy() async throws {
        let database = try database("shop")
        let board = DatabaseBoard([database]) { _ in }
        await #expect(throws: Broken.self) { try await board.exclusively(database.id) { throw Broken() } }
        await #expect(throws: CancellationError.self) {
            try await board.exclusively(DatabaseID(from: random)) { Issue.record("it is not on the board") }
        }
    }
}

private struct Broken: Error {}

/// What happened, in order.
private final class Record: Sendable {
    private let events = Mutex<[String]>([])
    var all: [String] { events.withLock { $0 } }

    func add(_ event: String) { events.withLock { $0.append(event) } }
}
