import MusterModel
import MusterTestSupport
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

    @Test func whoRestsIsLookedAtSeldomUntilItIsWoken() throws {
        let noon = try #require(noon)
        var (book, database, _) = try book(lastAttempt: nil)
        #expect(book.takeDue(at: noon) == [database])
        book.finished(database, attempt(at: noon), chance: 0, isResting: true)
        #expect(book.idleTime(at: noon) == .seconds(600))
        var resting = book
        #expect(resting.takeDue(at: noon + .seconds(599)).isEmpty)
        #expect(resting.takeDue(at: noon + .seconds(600)) == [database])

        var early = book
        early.wake(database, now: noon + .seconds(20))
        #expect(early.takeDue(at: noon + .seconds(299)).isEmpty, "the schedule counts")
        #expect(early.takeDue(at: noon + .seconds(300)) == [database])
        book.wake(database, now: noon + .seconds(400))
        #expect(book.takeDue(at: noon + .seconds(400)) == [database])
        #expect(book.takeDue(at: noon + .seconds(700)).isEmpty, "it is running")
    }

    @Test func whoIsWokenWhileItRunsDoesNotRest() throws {
        let noon = try #require(noon)
        var (book, database, _) = try book(lastAttempt: nil)
        #expect(book.takeDue(at: noon) == [database])
        book.wake(database, now: noon)
        book.finished(database, attempt(at: noon), chance: 0, isResting: true)
        #expect(book.takeDue(at: noon + .seconds(300)) == [database])
    }

    @Test func noMoreAreTakenThanThereIsRoomFor() throws {
        let (schedule, noon) = (try #require(Schedule(every: .seconds(300))), try #require(noon))
        let databases = try (0..<9).map { try #require(DatabaseID(bytes: [UInt8](repeating: $0, count: 16))) }
        var book = ScheduleBook()
        for database in databases.shuffled() {
            book.add(database, schedule, lastAttempt: nil, now: noon, chance: 0)
        }
        #expect(book.takeDue(at: noon, limit: 0).isEmpty)
        #expect(book.takeDue(at: noon, limit: 4) == Array(databases[..<4]))
        #expect(book.idleTime(at: noon) == .zero, "the others are due")
        #expect(book.takeDue(at: noon, limit: 9) == Array(databases[4...]))
        #expect(book.idleTime(at: noon) == nil)
    }

    @Test func aClockThatIsSetBackPutsNothingOff() throws {
        let noon = try #require(noon)
        var (book, database, _) = try book(lastAttempt: attempt(at: noon))
        #expect(book.takeDue(at: noon).isEmpty)
        let before = noon - .seconds(86_400)
        #expect(book.takeDue(at: before).isEmpty)
        #expect(book.idleTime(at: before) == .seconds(330))
        #expect(book.takeDue(at: before + .seconds(330)) == [database])
    }

    /// Against a list that is searched from one end to the other.
    @Test func manyAreTakenInOrder() throws {
        let (noon, seed) = (try #require(noon), UInt64.random(in: 0...UInt64.max))
        var chance = SeededGenerator(seed: seed)
        var (queue, tickets): (DueQueue, [DueQueue.Ticket]) = (DueQueue(), [])
        for number in 0..<3000 {
            if Int.random(in: 0..<3, using: &chance) == 0 {
                #expect(queue.first == tickets.min() && queue.popFirst() == tickets.min(), "seed \(seed)")
                if let least = tickets.min() { tickets.removeAll { $0 == least } }
            } else {
                let bytes = (0..<16).map { _ in UInt8.random(in: 0...255, using: &chance) }
                let ticket = DueQueue.Ticket(
                    dueAt: noon + .seconds(Int.random(in: 0..<500, using: &chance)),
                    database: try #require(DatabaseID(bytes: bytes)), number: UInt64(number))
                tickets.append(ticket)
                queue.insert(ticket)
            }
        }
        #expect(queue.count == tickets.count)
        var sorted = DueQueue(tickets)
        for ticket in tickets.sorted() { #expect(sorted.popFirst() == ticket && queue.popFirst() == ticket) }
        #expect(queue.popFirst() == nil)
    }

    @Test func whatIsPutInAgainAndAgainTakesNoMoreRoom() throws {
        let noon = try #require(noon)
        var (book, database, _) = try book(lastAttempt: nil)
        for second in 0..<500 {
            book.finished(database, attempt(at: noon + .seconds(second)), chance: 0, isResting: true)
        }
        #expect(book.ticketCount < 100)
        #expect(book.takeDue(at: noon + .seconds(1098)).isEmpty, "only the newest ticket counts")
        #expect(book.takeDue(at: noon + .seconds(1099)) == [database])
    }
}
