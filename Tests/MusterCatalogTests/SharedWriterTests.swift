import Dispatch
import GRDB
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterCatalog

@Suite("Writes that share a transaction")
struct SharedWriterTests {
    private struct Refused: Error {}

    /// Counts what was made durable.
    private final class CommitCount: TransactionObserver, Sendable {
        let commits = Mutex(0)
        func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { true }
        func databaseDidChange(with event: DatabaseEvent) {}
        func databaseDidCommit(_ database: Database) { commits.withLock { $0 += 1 } }
        func databaseDidRollback(_ database: Database) {}
    }

    private final class Arrivals: Sendable {
        private let count = Mutex(0)
        func next() -> Int {
            count.withLock { count in
                count += 1
                return count
            }
        }
    }

    private let directory: TemporaryDirectory
    private let pool: DatabasePool
    private let writer: SharedWriter
    private let count = CommitCount()

    init() throws {
        directory = try TemporaryDirectory()
        pool = try DatabasePool(path: directory.file("shared.db"))
        try pool.write { try $0.execute(sql: "CREATE TABLE item(number INTEGER PRIMARY KEY, bytes BLOB)") }
        writer = SharedWriter(pool)
        pool.add(transactionObserver: count, extent: .databaseLifetime)
    }

    private func items() throws -> Set<Int> {
        try pool.read { Set(try Int.fetchAll($0, sql: "SELECT number FROM item")) }
    }

    private static func insert(_ number: Int, bytes: Int = 0, into database: Database) throws {
        try database.execute(sql: "INSERT INTO item VALUES (?, zeroblob(?))", arguments: [number, bytes])
    }

    /// Runs the writes with as many of them in one transaction as get there while the connection is held.
    ///
    /// - Returns: those that were answered without an error.
    private func together(_ writes: [@Sendable (Database) throws -> Void]) async -> Set<Int> {
        let gate = DispatchSemaphore(value: 0)
        let arrived = Arrivals()
        pool.asyncWriteWithoutTransaction { _ in gate.wait() }
        return await withTaskGroup(of: Int?.self) { group in
            for (index, write) in writes.enumerated() {
                group.addTask { [writer] in
                    if arrived.next() == writes.count { gate.signal() }
                    do {
                        try await writer.write(write)
                        return index
                    } catch {
                        return nil
                    }
                }
            }
            return await group.reduce(into: []) { if let index = $1 { $0.insert(index) } }
        }
    }

    @Test func becomeDurableTogether() async throws {
        let done = await together((0..<60).map { number in { try Self.insert(number, into: $0) } })
        #expect(done == Set(0..<60))
        #expect(try items() == done)
        #expect(count.commits.withLock { $0 } < 20)
    }

    @Test func oneThatFailsIsUndoneAndSpoilsNoOther() async throws {
        let done = await together(
            (0..<50).map { number in
                { database in
                    try Self.insert(number, into: database)
                    if number % 5 == 0 { throw Refused() }
                    // A statement that fails in the middle of a write undoes all of that write.
                    if number % 5 == 1 { try Self.insert(number, into: database) }
                }
            })
        #expect(done == Set((0..<50).filter { $0 % 5 > 1 }))
        #expect(try items() == done)
    }

    @Test func onAFullDiskNoneIsAnsweredThatWasNotKept() async throws {
        try await writer.write { try $0.execute(sql: "PRAGMA max_page_count = 100") }
        let done = await together((0..<40).map { number in { try Self.insert(number, bytes: 20_000, into: $0) } })
        #expect(done.count < 40)
        #expect(try items() == done)
        try await writer.write { try $0.execute(sql: "PRAGMA max_page_count = 10000") }
        #expect(await together([{ try Self.insert(100, bytes: 20_000, into: $0) }]) == [0])
    }

    @Test func aTransactionThatCannotBeKeptFailsEveryWriteInIt() async throws {
        try await pool.writeWithoutTransaction { database in
            try database.execute(
                sql: """
                    CREATE TABLE parent(number INTEGER PRIMARY KEY);
                    CREATE TABLE child(parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)
                    """)
        }
        // Found wanting at the commit only, when every write has run.
        let broken: @Sendable (Database) throws -> Void = { try $0.execute(sql: "INSERT INTO child VALUES (1)") }
        let sound = (0..<20).map { number in { @Sendable database in try Self.insert(number, into: database) } }
        let done = await together([broken] + sound)
        #expect(!done.contains(0))
        #expect(try items() == Set(done.map { $0 - 1 }))
        try await writer.write { try Self.insert(100, into: $0) }
        #expect(try items().contains(100))
    }

    @Test func aNoteIsWrittenWithTheNextWriteAndCannotFailIt() async throws {
        writer.note { try Self.insert(7, into: $0) }
        writer.note { _ in throw Refused() }
        #expect(try items().isEmpty)
        try await writer.write { try Self.insert(8, into: $0) }
        #expect(try items() == [7, 8])
        try await writer.write { _ in }
        #expect(try items() == [7, 8], "once")
    }
}
