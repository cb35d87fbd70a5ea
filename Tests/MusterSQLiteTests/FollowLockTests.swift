import CSQLite
import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

/// The machine without its thread, so that what happens between two looks is known.
@Suite("The two locks of a follower")
struct FollowLockTests {
    private let source: FollowedSource

    init() throws { source = try FollowedSource() }

    private func checkpoint(_ application: ApplicationProcess, _ mode: String) throws -> Bool {
        try application.run("PRAGMA wal_checkpoint(\(mode))").first?.hasPrefix("0") == true
    }

    /// Under the zero lock, with everything seen and copied.
    private func atZero(_ application: ApplicationProcess) throws -> FollowState {
        var machine = try source.machine()
        #expect(machine.guardSlot != nil && !machine.holdsZero)
        #expect(try checkpoint(application, "PASSIVE"))
        try machine.tick(.zero)
        #expect(machine.guardSlot == nil && machine.holdsZero)
        return machine
    }

    @Test("the guard lets frames be copied and forbids a restart")
    func theGuardForbidsARestart() throws {
        let application = try source.application()
        let machine = try source.machine()
        try application.run("PRAGMA busy_timeout=0")
        #expect(try checkpoint(application, "FULL"))
        #expect(try !checkpoint(application, "RESTART") && !checkpoint(application, "TRUNCATE"))
        let salt = try machine.sharedIndex().settledHeader()?.salt
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        #expect(try machine.sharedIndex().settledHeader()?.salt == salt)
    }

    @Test("the zero lock forbids that frames are copied and lets the WAL restart once")
    func theZeroLockAllowsOneRestart() throws {
        let application = try source.application()
        var machine = try atZero(application)
        try application.run("PRAGMA busy_timeout=0")
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        let restarted = try #require(try machine.sharedIndex().settledHeader())
        #expect(restarted.salt != machine.position.salt && restarted.lastFrame < 10)
        #expect(try !checkpoint(application, "FULL") && !checkpoint(application, "TRUNCATE"))
        #expect(try machine.sharedIndex().backfilledFrames() == 0)
        try machine.tick(.milliseconds(1))
        #expect(!machine.holdsZero && machine.guardSlot != nil && machine.commits == 1)
        #expect(machine.position.salt == restarted.salt)
    }

    @Test("an idle database is left alone")
    func anIdleDatabaseIsLeftAlone() throws {
        let application = try source.application()
        var machine = try atZero(application)
        let position = machine.position
        for tick in 1...5 { try machine.tick(.milliseconds(tick)) }
        #expect(machine.holdsZero && machine.guardSlot == nil && machine.position == position)
        // An empty new generation is nothing to see either.
        #expect(try checkpoint(application, "TRUNCATE"))
        try machine.tick(.milliseconds(6))
        #expect(machine.holdsZero && machine.position == position)
    }

    @Test("while every read slot is taken it stays under the zero lock and misses nothing")
    func whileEverySlotIsTakenItWaits() throws {
        let application = try source.application()
        var machine = try atZero(application)
        var readers: [ApplicationProcess] = []
        for number in 1...4 {
            try application.run("UPDATE t SET b = 'reader \(number)' WHERE a = \(number)")
            readers.append(try ApplicationProcess(path: source.path))
            try readers.last?.run("BEGIN")
            try readers.last?.run("SELECT count(*) FROM t")
        }
        let (commits, position) = (machine.commits, machine.position)
        try machine.tick(.milliseconds(1))
        #expect(machine.holdsZero && machine.guardSlot == nil && machine.position == position)
        // A snapshot is possible even so: its transaction keeps the frames.
        let pin = try machine.pin(
            CaptureSurroundings(options: CaptureOptions(), elapsed: steadyClock, shouldStop: { false }))
        #expect(try pin.capture.referenceImage() == wholeImage(pin.capture) && pin.dirty.count > 0)
        try pin.capture.finish()
        #expect(machine.commits == commits + 4 && machine.holdsZero)
        try readers.removeLast().run("COMMIT")
        try application.run("UPDATE t SET b = 'after'")
        try machine.tick(.milliseconds(2))
        #expect(!machine.holdsZero && machine.guardSlot != nil && machine.commits == commits + 5)
    }

    @Test("frames that were seen under the zero lock are let go of too")
    func framesSeenUnderTheZeroLockAreLetGo() throws {
        let application = try source.application()
        var machine = try atZero(application)
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        let surroundings = CaptureSurroundings(
            options: CaptureOptions(), elapsed: steadyClock, shouldStop: { false })
        try machine.pin(surroundings).capture.finish()
        #expect(machine.holdsZero)
        try machine.tick(.milliseconds(1))
        #expect(!machine.holdsZero, "nothing could ever be copied")
        #expect(try checkpoint(application, "FULL"))
    }

    @Test("a reader's slot that was left over is used, a live one is not")
    func aLeftoverSlotIsUsed() throws {
        let application = try source.application()
        var readers: [ApplicationProcess] = []
        for number in 1...4 {
            try application.run("UPDATE t SET b = 'reader \(number)' WHERE a = \(number)")
            readers.append(try ApplicationProcess(path: source.path))
            try readers.last?.run("BEGIN")
            try readers.last?.run("SELECT count(*) FROM t")
        }
        #expect(throws: CaptureError.self) { try source.machine(.hurried) }
        readers.forEach { $0.kill() }
        let machine = try source.machine(.hurried)
        #expect(machine.guardSlot != nil)
    }

    // MARK: Stale checkpointers

    /// Holds lock bytes of `-shm` as another process does.
    private func withLocks(_ bytes: [Int32], _ body: () throws -> Void) throws {
        let descriptor = open(source.path + "-shm", O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        for byte in bytes { #expect(csqlite_lock(descriptor, CSQLITE_EXCLUSIVE, Int64(byte), 1) == 0) }
        // Not by closing alone: a process that another test starts has the descriptor too until it runs its program.
        defer { for byte in bytes { #expect(csqlite_lock(descriptor, CSQLITE_UNLOCK, Int64(byte), 1) == 0) } }
        try body()
    }

    @Test("after a restart the zero lock stays until no checkpointer is at work")
    func aCheckpointerFromBeforeTheRestart() throws {
        let application = try source.application()
        var machine = try atZero(application)
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        try withLocks([CSQLITE_LOCK_CHECKPOINT]) {
            for tick in [1, 100, 1000] {
                try machine.tick(.milliseconds(tick))
                #expect(machine.holdsZero && machine.guardSlot != nil)
            }
        }
        try machine.tick(.milliseconds(1001))
        #expect(!machine.holdsZero && machine.guardSlot != nil)
    }

    @Test("a blocking checkpoint that waits for us is let through")
    func aBlockingCheckpointIsLetThrough() throws {
        let application = try source.application()
        var machine = try atZero(application)
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        try withLocks([CSQLITE_LOCK_CHECKPOINT, CSQLITE_LOCK_WRITE]) {
            for tick in [1, 20, 45] {
                try machine.tick(.milliseconds(tick))
                #expect(machine.holdsZero)
            }
            try machine.tick(.milliseconds(52))
            #expect(!machine.holdsZero)
        }
    }

    @Test("without a restart no checkpointer is asked for")
    func withoutARestartNobodyIsAskedFor() throws {
        let application = try source.application()
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")
        // A reader of the last frame keeps the writer from restarting the WAL.
        try application.run("UPDATE t SET b = 'y' WHERE a = 2")
        let reader = try ApplicationProcess(path: source.path)
        try reader.run("BEGIN")
        try reader.run("SELECT count(*) FROM t")
        var machine = try atZero(application)
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        #expect(try machine.sharedIndex().settledHeader()?.salt == machine.position.salt)
        try withLocks([CSQLITE_LOCK_CHECKPOINT]) {
            try machine.tick(.milliseconds(1))
            #expect(!machine.holdsZero)
        }
    }

    // MARK: Limits

    @Test("a WAL that grows under the zero lock ends the follower")
    func aWALThatGrowsUnderTheZeroLock() throws {
        let application = try source.application()
        var machine = try atZero(application)
        machine = FollowState(limited: machine, to: 100_000)
        try withLocks([CSQLITE_LOCK_CHECKPOINT]) {
            try application.run("UPDATE t SET b = 'x' WHERE a = 1")
            try machine.tick(.milliseconds(1))
            try application.run("INSERT INTO t VALUES(NULL, randomblob(200000))")
            #expect(throws: CaptureError.self) { try machine.tick(.milliseconds(2)) }
        }
    }

    @Test(
        "a WAL that grows under the guard ends the follower if frames were copied meanwhile", arguments: [true, false])
    func aWALThatGrowsUnderTheGuard(isCopied: Bool) throws {
        let application = try source.application()
        var options = FollowOptions()
        options.maximumWALBytes = 100_000
        let reader = try ApplicationProcess(path: source.path)
        var machine = try source.machine(options)
        if !isCopied {
            try reader.run("BEGIN")
            try reader.run("SELECT count(*) FROM t")
        }
        for _ in 0..<3 {
            try application.run("INSERT INTO t VALUES(NULL, randomblob(60000))")
            _ = try checkpoint(application, "PASSIVE")
        }
        try application.run("INSERT INTO t VALUES(NULL, 'one more')")
        if isCopied {
            #expect(throws: CaptureError.self) { try machine.tick(.zero) }
        } else {
            try machine.tick(.zero)
        }
    }

    @Test("a file that was overwritten in place is noticed, a checkpoint is none")
    func anOverwrittenFileIsNoticed() throws {
        let application = try source.application()
        var machine = try atZero(application)
        var now = Duration.zero
        for _ in 0..<5 {
            try application.run("UPDATE t SET b = randomblob(700) WHERE a % 7 = 3")
            for _ in 0..<2 {
                now += .seconds(2)
                try machine.tick(now)
            }
            #expect(try checkpoint(application, "PASSIVE"))
            for _ in 0..<2 {
                now += .seconds(2)
                try machine.tick(now)
            }
        }
        let before = FileState(path: source.path)
        let file = try #require(FileHandle(forUpdatingAtPath: source.path))
        try eventually("another time of the file") {
            try file.seek(toOffset: 5000)
            try file.write(contentsOf: Data([1, 2, 3]))
            return FileState(path: source.path)?.modifiedNanoseconds != before?.modifiedNanoseconds
        }
        #expect(
            throws: CaptureError.followBroken(
                path: machine.files.files.path, reason: "its file was overwritten in place")
        ) {
            try machine.tick(now + .seconds(2))
        }
    }

    // MARK: Waiting

    @Test("a wait for a lock ends when its time is over, and when the lock is free")
    func aWaitEnds() throws {
        _ = try source.application()
        let descriptor = open(source.path + "-shm", O_RDWR | O_CLOEXEC)
        let other = open(source.path + "-shm", O_RDWR | O_CLOEXEC)
        defer { for open in [descriptor, other] { close(open) } }
        let byte = Int64(CSQLITE_LOCK_READ)
        #expect(csqlite_lock_wait(descriptor, byte, 5) == 0)
        #expect(csqlite_lock(descriptor, CSQLITE_UNLOCK, byte, 1) == 0)
        #expect(csqlite_lock(other, CSQLITE_EXCLUSIVE, byte, 1) == 0)
        #expect(csqlite_lock_wait(descriptor, byte, 5) == 1)
        var holder: Int32 = 0
        #expect(csqlite_lock_holder(descriptor, CSQLITE_SHARED, byte, &holder) == 1)
        DispatchQueue.global().async { _ = csqlite_lock(other, CSQLITE_UNLOCK, byte, 1) }
        #expect(csqlite_lock_wait(descriptor, byte, 1000) == 0)
        #expect(csqlite_lock_holder(descriptor, CSQLITE_EXCLUSIVE, byte, &holder) == 0)
    }
}

extension FollowState {
    /// The same machine with a smaller limit.
    fileprivate init(limited machine: FollowState, to bytes: UInt64) {
        var options = FollowOptions()
        options.maximumWALBytes = bytes
        self.init(
            files: machine.files, options: options, pageSize: machine.pageSize, guardSlot: machine.guardSlot ?? 4,
            position: machine.position)
        (guardSlot, holdsZero, zero) = (machine.guardSlot, machine.holdsZero, machine.zero)
        mayHaveRestarted = machine.mayHaveRestarted
    }
}
