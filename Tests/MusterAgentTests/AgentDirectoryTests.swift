import Foundation
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterAgent

@Suite("Agent directory")
struct AgentDirectoryTests {
    private let random = RandomSource.seeded(3)

    /// A directory with one database, and a lock on it as of an agent: this process, which does not mind SIGHUP.
    private func runningDirectory(_ folder: TemporaryDirectory) throws -> AgentDirectory {
        signal(SIGHUP, SIG_IGN)
        let directory = AgentDirectory(path: folder.path)
        var configuration = AgentConfiguration(
            coordinatorURL: "https://c:1", nodeName: "n", nodeID: NodeID(from: random))
        configuration.databases = [
            ProtectedDatabase(
                id: DatabaseID(from: random), name: "shop", path: "/shop.db",
                schedule: try #require(Schedule(every: .seconds(1))))
        ]
        try directory.write(configuration)
        return directory
    }

    @Test func whoWaitsForAnAgentThatDoesNotComeToItIsTold() async throws {
        let folder = try TemporaryDirectory()
        let directory = try runningDirectory(folder)
        let lock = try await DirectoryLock.take(directory) { _ in Issue.record("nobody else has it") }
        defer { lock.release() }
        let change = try directory.setPaused(true, "shop")
        #expect(change.isAgentTold)
        let time = Mutex(Duration.zero)
        await #expect(throws: NotTakenUp.self) {
            try await directory.awaitUptake(
                of: change, limit: .seconds(30), monotonic: { time.withLock { $0 } },
                sleep: { span in time.withLock { $0 += span } })
        }
        #expect(time.withLock { $0 } >= .seconds(30))
    }

    @Test("the wait ends when", arguments: ["it is applied", "a later one is applied", "the agent ends"])
    func theWaitEnds(when what: String) async throws {
        let folder = try TemporaryDirectory()
        let directory = try runningDirectory(folder)
        try directory.noteApplied(try directory.versionedConfiguration().version)
        let lock = try await DirectoryLock.take(directory) { _ in Issue.record("nobody else has it") }
        let change = try directory.setPaused(true, "shop")
        let schedule = try #require(Schedule(every: .seconds(1)))
        let sleeps = Mutex(0)
        try await directory.awaitUptake(
            of: change, limit: .seconds(30), monotonic: { .zero },
            sleep: { _ in
                sleeps.withLock { $0 += 1 }
                if what == "a later one is applied", sleeps.withLock({ $0 }) == 1 {
                    _ = try directory.add(
                        ProtectedDatabase(
                            id: DatabaseID(from: .seeded(4)), name: "other", path: "/other.db", schedule: schedule))
                }
                if what == "the agent ends" { return lock.release() }
                try directory.noteApplied(try directory.versionedConfiguration().version)
            })
        #expect(sleeps.withLock { $0 } == 1)
        if what != "the agent ends" { lock.release() }
        #expect(try directory.configuration().databases[0].isPaused)
    }

    /// As after an upgrade that replaced the program under the agent, or for one that was started from elsewhere.
    @Test func anAgentOfAnotherProgramIsTold() async throws {
        let folder = try TemporaryDirectory()
        let directory = try runningDirectory(folder)
        let script = """
            import fcntl, os, signal, sys
            signal.signal(signal.SIGHUP, lambda *_: print("told", flush=True))
            file = open(sys.argv[1], "a+")
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            print(os.getpid(), file=file, flush=True)
            print("ready", flush=True)
            sys.stdin.read()
            """
        let agent = try ChildProcess(
            "/usr/bin/python3", ["-c", script, directory.lockFile], takesInput: true, output: .reader)
        #expect(try agent.readLine(within: .seconds(240)) == "ready")
        #expect(try directory.setPaused(true, "shop").isAgentTold)
        #expect(try agent.readLine(within: .seconds(240)) == "told")
    }

    /// "Paused" is a promise that no lock is held.
    @Test func anAgentThatCannotBeToldIsAnError() async throws {
        let folder = try TemporaryDirectory()
        let directory = try runningDirectory(folder)
        let lock = try await DirectoryLock.take(directory) { _ in Issue.record("nobody else has it") }
        defer { lock.release() }
        let stranger = try ChildProcess(
            "/usr/bin/python3", ["-c", "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"],
            takesInput: true, output: .reader)
        try #require(try stranger.readLine(within: .seconds(240)))
            .write(toFile: directory.lockFile, atomically: false, encoding: .utf8)
        #expect(throws: AgentNotReached.self) { try directory.setPaused(true, "shop") }
        // Told by hand meanwhile, it is as if it had been told by us.
        try directory.noteApplied(try directory.versionedConfiguration().version)
        let change = try directory.setPaused(true, "shop")
        try await directory.awaitUptake(
            of: change, limit: .seconds(30), monotonic: { .zero }, sleep: { _ in Issue.record("it is taken up") })
    }

    @Test func aLiveRestoreWaitsForWhatTheAgentDoes() async throws {
        let folder = try TemporaryDirectory()
        let directory = try runningDirectory(folder)
        let lock = try await DirectoryLock.take(directory) { _ in Issue.record("nobody else has it") }
        defer { lock.release() }
        _ = try directory.setPaused(true, "shop")
        try directory.refuseUnpaused("/shop.db")
        let time = Mutex(Duration.zero)
        await #expect(throws: NotTakenUp.self) {
            try await directory.awaitUptake(
                limit: .seconds(30), monotonic: { time.withLock { $0 } },
                sleep: { span in time.withLock { $0 += span } })
        }
    }

    @Test func aLockThatIsFreeInAMomentIsWaitedFor() async throws {
        let folder = try TemporaryDirectory()
        let directory = try runningDirectory(folder)
        let first = try await DirectoryLock.take(directory) { _ in Issue.record("nobody else has it") }
        let second = try await DirectoryLock.take(directory) { _ in first.release() }
        await #expect(throws: AgentDirectoryError.self) { try await DirectoryLock.take(directory) { _ in } }
        second.release()
    }

    @Test func aDatabaseIsNamedByNamePathOrID() async throws {
        let folder = try TemporaryDirectory()
        let directory = try runningDirectory(folder)
        let id = try directory.configuration().databases[0].id.description
        for name in ["shop", "/shop.db", id] {
            _ = try directory.setPaused(true, name)
            #expect(try directory.configuration().databases[0].isPaused)
            _ = try directory.setPaused(false, name)
            #expect(try !directory.configuration().databases[0].isPaused)
        }
        #expect(throws: DatabaseNotListed.self) { try directory.remove("shops") }
        _ = try directory.remove(id)
        #expect(try directory.configuration().databases == [])
    }
}
