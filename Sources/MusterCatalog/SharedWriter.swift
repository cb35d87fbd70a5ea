import GRDB
import Synchronization

/// Lets writes that come at the same time share one durable transaction.
///
/// While a transaction is made durable the writes that arrive meanwhile wait; then all of them run in
/// the next one, in order. Each has a savepoint of its own: one that fails is undone by itself, and
/// the others do not notice. A write is answered only after the transaction that holds it is durable; if that
/// cannot be made durable, all of it is undone and every write in it fails.
///
/// The line is no longer than the requests under way, which the coordinator bounds. So are the notes: one comes after each
/// commit's write, and all of them go with the next.
final class SharedWriter: Sendable {
    private static let mostAtOnce = 64

    private typealias Answer = @Sendable ((any Error)?) -> Void

    private struct Write: Sendable {
        /// - Returns: what is to be told how the transaction ended.
        let run: @Sendable (GRDB.Database) throws -> Answer
        /// Where it did not run, or did not run to its end.
        let fail: @Sendable (any Error) -> Void
    }

    private struct Line {
        var writes: [Write] = []
        /// What is written along with the next transaction, and nobody waits for.
        var notes: [@Sendable (GRDB.Database) throws -> Void] = []
        var isServed = false
    }

    private let pool: DatabasePool
    private let line = Mutex(Line())

    init(_ pool: DatabasePool) { self.pool = pool }

    /// Runs `body` in a durable transaction.
    func write<Value: Sendable>(_ body: @escaping @Sendable (GRDB.Database) throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            submit(
                Write { database in
                    let value = try body(database)
                    return { failure in
                        if let failure {
                            continuation.resume(throwing: failure)
                        } else {
                            continuation.resume(returning: value)
                        }
                    }
                } fail: {
                    continuation.resume(throwing: $0)
                })
        }
    }

    /// Takes `body` along with the next write. It may get lost, so it must be something that is found out again.
    func note(_ body: @escaping @Sendable (GRDB.Database) throws -> Void) {
        line.withLock { $0.notes.append(body) }
    }

    private func submit(_ write: Write) {
        let isServed = line.withLock { line in
            line.writes.append(write)
            defer { line.isServed = true }
            return line.isServed
        }
        if !isServed { pool.asyncWriteWithoutTransaction { self.serve($0) } }
    }

    private func serve(_ database: GRDB.Database) {
        while true {
            let (writes, notes) = line.withLock { line in
                let writes = Array(line.writes.prefix(Self.mostAtOnce))
                line.writes.removeFirst(writes.count)
                if writes.isEmpty { line.isServed = false }
                let notes = writes.isEmpty ? [] : line.notes
                line.notes.removeFirst(notes.count)
                return (writes, notes)
            }
            if writes.isEmpty { return }
            transact(writes, notes, database)
        }
    }

    private func transact(
        _ writes: [Write], _ notes: [@Sendable (GRDB.Database) throws -> Void], _ database: GRDB.Database
    ) {
        var answers: [Answer] = []
        var failed: [(write: Write, error: any Error)] = []
        do {
            try database.inTransaction(.immediate) {
                // A note that cannot be written is lost, as it may be.
                for note in notes { try? Self.apart(database) { try note(database) } }
                for write in writes {
                    do {
                        try Self.apart(database) { answers.append(try write.run(database)) }
                    } catch {
                        // An error such as a full disk takes the whole transaction with it (sqlite.org/lang_transaction.html).
                        guard database.isInsideTransaction else { throw error }
                        failed.append((write, error))
                    }
                }
                return .commit
            }
            for answer in answers { answer(nil) }
            for (write, error) in failed { write.fail(error) }
        } catch {
            // None of it was kept, whichever write the error came from.
            for write in writes { write.fail(error) }
        }
    }

    private static func apart(_ database: GRDB.Database, _ body: () throws -> Void) throws {
        try database.inSavepoint {
            try body()
            return .commit
        }
    }
}
