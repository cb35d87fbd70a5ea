import MusterModel
import Testing

@testable import MusterAgent

@Suite("Schedule book")
struct ScheduleBookTests {
    private let database = DatabaseID(bytes: [UInt8](repeating: 1, count: 16))
    private let noon = Timestamp("2026-11-23T12:00:00Z")

    private func book(lastAttempt: Attempt?, chance: Double = 0) throws -> (ScheduleBook, DatabaseID, Timestamp) {
        let (database, noon) = (try #require(database), try #require(noon))
        let schedule = try #require(Schedule(every: .seconds(300), jitter: .seconds(30)))
        var book = ScheduleBook()
        book.add(database, schedule, lastAttempt: lastAttempt, now: noon, chance: chance)
        return (book, database, noon)
    }

    private func attempt(at: Timestamp, failures: Int = 0) -> Attempt {
        Attempt(at: at, failuresInARow: failures, errorSummary: "", errorHint: "")
    }

    @Test func aNewDatabaseIsDueAtOnce() throws {
        var (book, database, noon) = try book(lastAttempt: nil)
        #expect(book.takeDue(at: noon) == [database])
    }

    @Test func whatWasMissedWhileDownIsDueOnceAtOnce() throws {
        let noon = try #require(noon)
        var (book, database, _) = try book(lastAttempt: attempt(at: noon - .seconds(86_400)))
        #expect(book.takeDue(at: noon) == [database])
        #expect(book.takeDue(at: noon).isEmpty, "it is running")
        book.finished(database, attempt(at: noon), chance: 0)
        #expect(book.takeDue(at: noon + .seconds(299)).isEmpty)
        #expect(book.takeDue(at: noon + .seconds(300)) == [database])
    }

    @Test func aRestartDoesNotBringTheNextSnapshotForward() throws {
        let noon = try #require(noon)
        var (book, database, _) = try book(lastAttempt: attempt(at: noon - .seconds(100)))
        #expect(book.takeDue(at: noon).isEmpty)
        #expect(book.idleTime(at: noon) == .seconds(200))
        #expect(book.takeDue(at: noon + .seconds(200)) == [database])
    }

    @Test func jitterMovesItBackByItsShare() throws {
        let noon = try #require(noon)
        let (book, _, _) = try book(lastAttempt: attempt(at: noon), chance: 0.5)
        #expect(book.idleTime(at: noon) == .seconds(315))
    }

    @Test(
        "a failure is tried again sooner, then less and less often", arguments: [(1, 30), (2, 60), (3, 120), (9, 300)])
    func aFailureIsTriedAgain(failures: Int, seconds: Int) throws {
        let noon = try #require(noon)
        let (book, _, _) = try book(lastAttempt: attempt(at: noon, failures: failures))
        #expect(book.idleTime(at: noon) == .seconds(seconds))
    }

    @Test func aClockThatWasAheadPutsNothingOffUntilThen() throws {
        let noon = try #require(noon)
        var (book, database, _) = try book(lastAttempt: attempt(at: noon + .seconds(4 * 365 * 86_400)))
        #expect(book.takeDue(at: noon).isEmpty)
        #expect(book.takeDue(at: noon + .seconds(331)) == [database])
    }

    @Test func aRemovedDatabaseIsNotDue() throws {
        var (book, database, noon) = try book(lastAttempt: nil)
        book.remove(database)
        #expect(book.takeDue(at: noon).isEmpty)
        #expect(book.idleTime(at: noon) == nil)
    }
}
