import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

/// A database that an application has open, to be followed.
struct FollowedSource {
    let folder: TemporaryFolder
    let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("app.db")
    }

    /// Another process with a WAL of some hundred frames that it does not checkpoint by itself.
    func application(pageSize: Int = 4096) throws -> ApplicationProcess {
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA page_size=\(pageSize)")
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("PRAGMA wal_autocheckpoint=0")
        try application.run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        try application.run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) "
                + "INSERT INTO t SELECT i, randomblob(700) FROM n")
        return application
    }

    /// - Parameter hurry: how much faster than real time its clock goes, where a test waits for what takes seconds.
    func follow(
        after cursor: FollowCursor? = nil, _ options: FollowOptions = FollowOptions(), hurry: Int = 1,
        onChange: (@Sendable () -> Void)? = nil
    ) throws -> Follower {
        try Follower.attach(
            path: path, after: cursor, options: options, elapsed: { steadyClock() * hurry }, onChange: onChange)
    }

    /// The machine without its thread: it looks when the test says.
    func machine(_ options: FollowOptions = FollowOptions()) throws -> FollowState {
        try FollowState.attach(
            SourceFiles(resolving: path), after: nil, options: options, elapsed: steadyClock
        ).state
    }
}

/// An image that a follower keeps up to date, as a backup does: the dirty pages of each pin go over the last image.
struct FollowedImage {
    var bytes: [UInt8] = []
    let pageSize: Int

    /// Reads a whole state anew, plainly, with `meanwhile` between its parts, and then what changed exactly.
    init(full follower: Follower, meanwhile: (Int) throws -> Void = { _ in }) throws {
        pageSize = follower.pageSize
        _ = try follower.beginRound()
        let count = try follower.filePageCount
        var (page, buffer): (UInt64, [UInt8]) = (1, [])
        var turn = 0
        while page <= count {
            let step = min(5, count - page + 1)
            try follower.readFile(page, count: Int(step), into: &buffer)
            bytes += buffer
            page += step
            try meanwhile(turn)
            turn += 1
        }
        try update(follower)
    }

    /// - Returns: how many pages were read, and the cursor of the commit that `bytes` now are.
    @discardableResult
    mutating func update(_ follower: Follower) throws -> (dirty: Int, cursor: FollowCursor) {
        try update(try follower.pin())
    }

    @discardableResult
    mutating func update(_ pin: FollowedPin) throws -> (dirty: Int, cursor: FollowCursor) {
        let size = Int(pin.capture.pageCount) * pageSize
        if bytes.count > size { bytes.removeLast(bytes.count - size) }
        bytes += [UInt8](repeating: 0, count: size - bytes.count)
        try pin.dirty.forEach { page in
            let start = Int(page - 1) * pageSize
            bytes.replaceSubrange(start..<start + pageSize, with: try pin.capture.readPages(UInt64(page), count: 1))
        }
        let reference = try pin.capture.referenceImage()
        try pin.capture.finish()
        #expect(reference == bytes)
        return (pin.dirty.count, pin.cursor)
    }
}

/// Waits for another process's or thread's doing to show; throws if it never does.
func eventually(_ what: String, _ holds: () throws -> Bool) throws {
    for _ in 0..<20_000 {
        if try holds() { return }
        usleep(500)
    }
    throw BrokenInvariant(reason: "it never came: \(what)")
}

extension FollowOptions {
    /// For refusals that shall not take long.
    static var hurried: FollowOptions {
        var options = FollowOptions()
        options.busyBudget = .milliseconds(100)
        return options
    }
}
