import Foundation
import Logging
import MusterAPI
import MusterAgent
import MusterFormat
import MusterModel
import MusterTransfer

/// Nodes that live beside each other as agents do: each waits for work, reports, and commits small snapshots of its
/// databases, each database once in an interval, at a moment of its own.
struct FleetLoad: Sendable {
    struct Shape: Sendable {
        let databases: Int
        let seconds: Int
        /// Between two snapshots of one database; 0 for none at all.
        let interval: Int
        let seed: UInt64
    }

    private static let reportPeriod = Duration.seconds(30)
    private static let pollSeconds: UInt32 = 30

    let directories: [AgentDirectory]
    let shape: Shape

    /// Lets so many nodes join, a few at once, into folders of their own.
    static func join(_ count: Int, admin: CoordinatorClient, folder: String) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for lane in 0..<8 {
                group.addTask {
                    for number in stride(from: lane, to: count, by: 8) {
                        let answer = try await admin.invite("load-\(number)")
                        guard let token = JoinToken(text: answer.token) else { throw WrongAnswer(what: "token") }
                        let directory = AgentDirectory(path: folder + "/node-\(number)")
                        _ = try await Joining(directory: directory, environment: environment).join(token)
                    }
                }
            }
            try await group.waitForAll()
        }
        print("\(count) nodes have joined")
    }

    func run() async throws {
        let end = ContinuousClock.now + .seconds(shape.seconds)
        var nodes: [LoadNode] = []
        for (number, directory) in directories.enumerated() {
            nodes.append(try LoadNode(directory, shape: shape, seed: shape.seed &+ UInt64(number)))
        }
        print("\(nodes.count) nodes with \(shape.databases) databases each, seed \(shape.seed)")
        let began = ContinuousClock.now
        let outcome = try await withThrowingTaskGroup(of: LoadOutcome.self) { group in
            for node in nodes {
                group.addTask { try await node.poll(Self.pollSeconds, until: end) }
                group.addTask { try await node.report(every: Self.reportPeriod, until: end) }
                group.addTask { try await node.commit(until: end) }
            }
            return try await group.reduce(into: LoadOutcome()) { $0.add($1) }
        }
        let elapsed = Double((ContinuousClock.now - began) / .milliseconds(1)) / 1e3
        for node in nodes { node.client.shutdown() }
        print("reports: \(outcome.reports.milliseconds.count), \(outcome.reports)")
        print("long polls: \(outcome.polls), jobs: \(outcome.jobs)")
        let count = outcome.commits.milliseconds.count
        print("commits: \(count), \(Int((Double(count) / elapsed).rounded()))/s, \(outcome.commits)")
        print("refused or failed and tried again later: \(outcome.failures)")
    }

    static let environment = AgentEnvironment(
        clock: SystemClock(), monotonic: { .zero }, sleep: { try await Task.sleep(for: $0) }, random: .system,
        logger: Logger(label: "fleet-load"), cores: 1, version: "0.1.0")
}

struct LoadOutcome: Sendable {
    var reports = Latencies()
    var commits = Latencies()
    var polls = 0
    var jobs = 0
    var failures = 0

    mutating func add(_ other: LoadOutcome) {
        reports.add(other.reports)
        commits.add(other.commits)
        polls += other.polls
        jobs += other.jobs
        failures += other.failures
    }
}

struct WrongAnswer: Error {
    let what: String
}

private struct SystemClock: WallClock {
    func now() -> Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1e6)) }
}
