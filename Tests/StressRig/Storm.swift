import Foundation
import MusterTestSupport

/// Applications and a follower on one database, each a process of its own: killed at random, and started again.
final class Storm {
    private struct Member {
        var arguments: [String]
        let isFollower: Bool
        let isCheckpointer: Bool
        var process: ChildProcess?
    }

    private let settings: StormSettings
    private let program: String
    private var dice: SeededGenerator
    private var members: [Member] = []
    private var nextFollowerKill: ContinuousClock.Instant = .now
    private var nextApplicationKill: ContinuousClock.Instant = .now
    /// False: checkpointers are not started.
    var letsCheckpoint = true
    private(set) var followerKills = 0
    private(set) var applicationKills = 0

    init(path: String, ledger: String, captures: String, settings: StormSettings) throws {
        self.settings = settings
        program = try Workload.executable().path
        dice = SeededGenerator(seed: UInt64(bitPattern: Int64(settings.seed)))
        func add(_ role: String, _ number: Int, _ own: [String]) {
            let common = ["seed=\(settings.seed)", "number=\(number)", "ledger=\(ledger)"]
            let arguments = [role, path] + common + own
            members.append(
                Member(
                    arguments: arguments, isFollower: role == "follow",
                    isCheckpointer: role == "checkpointer", process: nil))
        }
        let autocheckpoint = "autocheckpoint=\(settings.autocheckpoint)"
        for number in 1...settings.writers {
            add("writer", number, ["pause=\(settings.writerPauseMicroseconds)", autocheckpoint])
        }
        for number in 0..<settings.checkpointers {
            let pause = "pause=\(settings.checkpointPauseMicroseconds)"
            let maps = "maps=\(settings.checkpointersMap ? 1 : 0)"
            add("checkpointer", 5 + 4 * number, [pause, "mode=\(settings.checkpointMode)", maps])
        }
        if settings.vacuums { add("vacuumer", 6, ["pause=\(settings.vacuumPauseMicroseconds)"]) }
        for number in 0..<settings.readers { add("reader", 8 + 2 * number, []) }
        if settings.follows {
            let compare = "compare=\(settings.comparesOneIn)"
            add("follow", 0, ["folder=\(captures)", "faults=\(settings.faults)", compare, "kind=\(settings.kind)"])
            members[members.count - 1].arguments.append("stays=\(settings.stays ? 1 : 0)")
        }
        (nextFollowerKill, nextApplicationKill) = (moment(200, 3000), moment(500, 4000))
    }

    /// Starts who is not there, and kills whose time has come; call it again and again.
    func goOn() throws {
        for index in members.indices { try keepAlive(index) }
        if settings.kills > 0, .now > nextFollowerKill {
            followerKills += kill(members.indices.filter { members[$0].isFollower })
            nextFollowerKill = moment(200, 3000)
        }
        if settings.kills > 1, .now > nextApplicationKill {
            let applications = members.indices.filter { !members[$0].isFollower }
            // Now and then all at once, as when a machine's other half goes down.
            let isAll = Int.random(in: 0..<8, using: &dice) == 0
            let one = applications.randomElement(using: &dice).map { [$0] } ?? []
            applicationKills += kill(isAll ? applications : one)
            nextApplicationKill = moment(500, 4000)
        }
    }

    /// Kills everybody and waits until all are gone.
    func stop() {
        // Signals first, so that they end together.
        for member in members { member.process?.signal(9) }
        _ = kill(Array(members.indices))
    }

    private func moment(_ least: Int, _ spread: Int) -> ContinuousClock.Instant {
        .now + .milliseconds(least + Int.random(in: 0..<spread, using: &dice))
    }

    private func kill(_ victims: [Int]) -> Int {
        for victim in victims {
            members[victim].process?.kill()
            members[victim].process = nil
        }
        return victims.count
    }

    private func keepAlive(_ index: Int) throws {
        if members[index].isCheckpointer, !letsCheckpoint { return }
        if let process = members[index].process {
            guard let status = process.status else { return }
            // A lock that was not granted in time ends a role; a crash is another matter.
            if status != 1 { throw BrokenInvariant(reason: "\(process.command) ended with \(status)") }
        }
        members[index].process = try start(members[index])
    }

    private func start(_ member: Member) throws -> ChildProcess {
        guard !member.isFollower else { return try ChildProcess(program, member.arguments, output: .inherited) }
        var environment = ProcessInfo.processInfo.environment
        environment.merge(settings.applicationEnvironment) { $1 }
        let command = settings.applicationLoader + [program] + member.arguments
        return try ChildProcess(command[0], Array(command.dropFirst()), environment: environment, output: .inherited)
    }
}

/// Who takes part in a storm, and how wild it is.
package struct StormSettings: Sendable {
    package var pageSize = 4096
    package var autoVacuum = 0
    package var rows = 2000
    package var seed = 1
    /// 0: nobody is killed, 1: the follower, 2: applications too.
    package var kills = 2
    package var writers = 4
    package var writerPauseMicroseconds = 3000
    /// 0: each writer picks its own.
    package var autocheckpoint = 0
    package var checkpointers = 1
    package var checkpointPauseMicroseconds = 30_000
    package var checkpointMode = "any"
    /// They read from a mapped file before each checkpoint.
    package var checkpointersMap = false
    package var vacuums = true
    package var vacuumPauseMicroseconds = 400_000
    package var readers = 0
    package var follows = true
    /// `FollowFaults`: the steps that the follower leaves out.
    package var faults = 0
    /// `any`, or `full` for full captures only.
    package var kind = "any"
    /// The follower is attached once and never leaves, and checkpointers are started only then.
    package var stays = false
    package var comparesOneIn = 2
    /// A command that the applications, not the follower, are started by: another loader with another SQLite.
    package var applicationLoader: [String] = []
    package var applicationEnvironment: [String: String] = [:]

    package init() {}
}
