import Glibc
import MusterSQLite

/// Lets several applications and a follower loose on one database, kills them at random, and starts them again.
///
/// It goes on until something is written to its standard input, or that ends; then it kills them all and
/// waits until they are gone.
struct Storm {
    private struct Member {
        let arguments: [String]
        let isFollower: Bool
        var process: pid_t = 0
    }

    private let path: String
    private let options: Options
    private let ledger: Ledger
    private var dice: Dice
    private var members: [Member] = []
    private var followerKills: Int64 = 0
    private var applicationKills: Int64 = 0

    /// Options: those of the roles it starts, and `kills` (0 nobody, 1 the follower, 2 applications too), `readers`,
    /// `checkpoints`, `vacuums`, `follows` (0 or 1), `loader` and `preload` for the applications.
    init(path: String, options: Options) {
        self.path = path
        self.options = options
        ledger = Ledger(path: options.text("ledger", default: path + ".ledger"), number: 7)
        dice = Dice(seed: options.number("seed", default: 1) &* 31 &+ 7)
        for number in 1...options.number("writers", default: 4) {
            add("writer", number, ["pause=\(options.number("pause", default: 3000))"])
        }
        for number in 0..<options.number("checkpoints", default: 1) {
            add(
                "checkpointer", 5 + 4 * number,
                [
                    "pause=\(options.number("checkpointPause", default: 30_000))",
                    "mode=\(options.text("checkpointMode", default: "any"))",
                ])
        }
        if options.number("vacuums", default: 1) > 0 {
            add("vacuumer", 6, ["pause=\(options.number("vacuumPause", default: 400_000))"])
        }
        for number in 0..<options.number("readers", default: 0) { add("reader", 8 + 2 * number, []) }
        if options.number("follows", default: 1) > 0 {
            add(
                "follow", 0,
                [
                    "folder=\(options.text("folder", default: "."))", "faults=\(options.number("faults", default: 0))",
                    "compare=\(options.number("compare", default: 2))",
                    "kind=\(options.text("kind", default: "any"))",
                ])
        }
    }

    private mutating func add(_ role: String, _ number: Int, _ own: [String]) {
        let common = [
            "seed=\(options.number("seed", default: 1))", "number=\(number)",
            "ledger=\(options.text("ledger", default: path + ".ledger"))",
            "autocheckpoint=\(options.number("autocheckpoint", default: 0))",
        ]
        members.append(Member(arguments: [role, path] + common + own, isFollower: role == "follow"))
    }

    mutating func run() throws {
        let kills = options.number("kills", default: 0)
        var (nextFollower, nextApplication) = (deadline(200, 3000), deadline(500, 4000))
        while !isToldToStop(withinMilliseconds: 5) {
            for index in members.indices { try keepAlive(index) }
            if kills > 0, ContinuousClock().now > nextFollower {
                followerKills += kill(where: \.isFollower)
                nextFollower = deadline(200, 3000)
            }
            if kills > 1, ContinuousClock().now > nextApplication {
                // Now and then all at once, as when a machine's other half goes down.
                let all = dice.happens(oneIn: 8)
                applicationKills += kill { member in all && !member.isFollower }
                if !all { applicationKills += killOneApplication() }
                nextApplication = deadline(500, 4000)
            }
            ledger.store(followerKills, in: 0)
            ledger.store(applicationKills, in: 1)
        }
        _ = kill { _ in true }
        for member in members where member.process > 0 { waitpid(member.process, nil, 0) }
    }

    private func isToldToStop(withinMilliseconds limit: Int32) -> Bool {
        var input = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        return poll(&input, 1, limit) > 0
    }

    private mutating func deadline(_ least: Int, _ spread: Int) -> ContinuousClock.Instant {
        ContinuousClock().now + .milliseconds(least + dice.roll(spread))
    }

    private mutating func kill(where isVictim: (Member) -> Bool) -> Int64 {
        var killed: Int64 = 0
        for member in members where member.process > 0 && isVictim(member) {
            killed += Glibc.kill(member.process, SIGKILL) == 0 ? 1 : 0
        }
        return killed
    }

    private mutating func killOneApplication() -> Int64 {
        let applications = members.filter { !$0.isFollower && $0.process > 0 }
        guard !applications.isEmpty else { return 0 }
        let victim = applications[dice.roll(applications.count)]
        return Glibc.kill(victim.process, SIGKILL) == 0 ? 1 : 0
    }

    private mutating func keepAlive(_ index: Int) throws {
        var status: Int32 = 0
        let process = members[index].process
        if process > 0, waitpid(process, &status, WNOHANG) == 0 { return }
        // Killed is part of the game, an end of its own is not.
        if process > 0, status & 0x7f == 0, status >> 8 != 0 {
            complain("storm: \(members[index].arguments[0]) ended with \(status >> 8)")
        }
        members[index].process = try start(members[index])
    }

    private func start(_ member: Member) throws -> pid_t {
        var command = [CommandLine.arguments[0]] + member.arguments
        var environment = ["PATH=/usr/bin:/bin"]
        if !member.isFollower {
            let loader = options.text("loader", default: "")
            if !loader.isEmpty { command = loader.split(separator: "|").map(String.init) + command }
            let preload = options.text("preload", default: "")
            if !preload.isEmpty {
                environment.append("LD_PRELOAD=\(preload)")
                environment.append("DELAY_MICROSECONDS=\(options.number("delay", default: 0))")
            }
        }
        var arguments = command.map { strdup($0) } + [nil]
        var variables = environment.map { strdup($0) } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, command[0], nil, nil, &arguments, &variables)
        guard code == 0 else { throw Failure(reason: "\(command[0]): \(String(cString: strerror(code)))") }
        return process
    }

    private struct Failure: Error { let reason: String }
}

/// Keeps a read transaction open for a while, again and again.
struct Reader {
    private let path: String
    private let leash = Leash()
    private var dice: Dice

    init(path: String, options: Options) {
        self.path = path
        dice = Dice(seed: options.number("seed", default: 1) &* 31 &+ options.number("number", default: 8))
    }

    mutating func run() throws {
        while leash.isHeld {
            let connection = try Schedule.open(path: path, options: Options([]), dice: &dice)
            for _ in 0..<(1 + dice.roll(10)) where leash.isHeld {
                try connection.execute("BEGIN; SELECT count(*) FROM entry")
                usleep(UInt32(dice.roll(200_000)))
                try connection.execute("COMMIT")
                usleep(UInt32(dice.roll(100_000)))
            }
        }
    }
}
