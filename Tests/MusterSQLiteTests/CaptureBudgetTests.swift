import Foundation
import StressRig
import Synchronization
import Testing

@testable import MusterSQLite

@Suite("A capture keeps its budgets")
struct CaptureBudgetTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// A clock that stands until it is told to go on.
    private final class Clock: Sendable {
        private let reading = Mutex(Duration.zero)
        var elapsed: @Sendable () -> Duration { { self.reading.withLock { $0 } } }
        func advance(_ span: Duration) { reading.withLock { $0 += span } }
    }

    private func application(_ journalMode: String) throws -> ApplicationProcess {
        let application = try ApplicationProcess(path: folder.path("app.db"))
        try application.run("PRAGMA journal_mode=\(journalMode)")
        try application.run("PRAGMA wal_autocheckpoint=0")
        try application.run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        return application
    }

    @Test("a hold that lasts too long ends", arguments: ["wal", "delete", "closed"])
    func aHoldThatLastsTooLongEnds(journalMode: String) throws {
        let application = try application(journalMode == "closed" ? "wal" : journalMode)
        if journalMode == "closed" { try application.close() }
        let clock = Clock()
        let path = folder.path("app.db")
        let capture = try PinnedCapture.begin(path: path, elapsed: clock.elapsed)
        let limit: Duration = journalMode == "delete" ? .seconds(60) : .seconds(1800)
        clock.advance(limit)
        _ = try capture.readPages(1, count: 1)
        clock.advance(.milliseconds(1))
        #expect(throws: CaptureError.heldTooLong(path: path, limit: limit)) { try capture.readPages(1, count: 1) }
        #expect(throws: CaptureError.heldTooLong(path: path, limit: limit)) { try capture.checkBudget() }
        capture.abandon()
        if journalMode == "closed" { try application.reopen() }
        try application.run("INSERT INTO t VALUES(1, 'a writer is free again')")
    }

    @Test("reading the index of a long WAL counts as holding it")
    func readingALongWALCounts() throws {
        let application = try application("wal")
        try application.run("INSERT INTO t VALUES(1, randomblob(50000))")
        let path = folder.path("app.db")
        var options = CaptureOptions()
        let clock = Clock()
        let hurried: @Sendable () -> Duration = {
            defer { clock.advance(.seconds(3600)) }
            return clock.elapsed()
        }
        #expect(throws: CaptureError.heldTooLong(path: path, limit: options.maximumWALHold)) {
            _ = try PinnedCapture.begin(path: path, elapsed: hurried)
        }
        options.maximumWALGrowthBytes = 100_000
        let written = Mutex(false)
        #expect(throws: CaptureError.walGrewTooMuch(path: path, limitBytes: 100_000)) {
            _ = try PinnedCapture.begin(path: path, options: options, elapsed: clock.elapsed) {
                let isFirst = written.withLock { written in
                    defer { written = true }
                    return !written
                }
                guard isFirst else { return false }
                // What fails here shows as a capture that succeeds.
                let writer = try? SQLiteConnection(path: path, access: .readWrite)
                try? writer?.execute("INSERT INTO t VALUES(2, randomblob(200000))")
                return false
            }
        }
    }

    @Test("a WAL that grows too much ends the capture")
    func aWALThatGrowsTooMuchEndsTheCapture() throws {
        let application = try application("wal")
        var options = CaptureOptions()
        options.maximumWALGrowthBytes = 100_000
        let path = folder.path("app.db")
        let capture = try pinned(path, options)
        try application.run("INSERT INTO t VALUES(1, randomblob(50000))")
        _ = try capture.readPages(1, count: 1)
        try application.run("INSERT INTO t VALUES(2, randomblob(100000))")
        #expect(throws: CaptureError.walGrewTooMuch(path: path, limitBytes: 100_000)) {
            try capture.readPages(1, count: 1)
        }
    }

    @Test("shutdown ends a capture at the next read")
    func shutdownEndsACapture() throws {
        let application = try application("wal")
        let stops = Mutex(false)
        let path = folder.path("app.db")
        let capture = try PinnedCapture.begin(
            path: path, elapsed: steadyClock, shouldStop: { stops.withLock { $0 } })
        _ = try capture.readPages(1, count: 1)
        stops.withLock { $0 = true }
        #expect(throws: CaptureError.stopped(path: path)) { try capture.readPages(1, count: 1) }
        capture.abandon()
        #expect(throws: CaptureError.stopped(path: path)) { try capture.finish() }
        try application.run("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}
