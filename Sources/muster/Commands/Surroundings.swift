import CProcess
import Foundation
import Logging
import MusterAPI
import MusterAgent
import MusterFormat
import MusterModel
import MusterTransfer

/// The process's clock, chance and log: the one place that reads them.
enum Surroundings {
    struct SystemClock: WallClock {
        func now() -> Timestamp {
            Timestamp(microseconds: Int64((Date().timeIntervalSince1970 * 1_000_000).rounded(.down)))
        }
    }

    static let clock = SystemClock()
    static let random = RandomSource.system
    private static let started = ContinuousClock.now

    static let monotonic: @Sendable () -> Duration = { ContinuousClock.now - started }
    static let sleep: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }

    /// For commands that a person waits for: four tries, a few seconds.
    static let retry = CoordinatorClient.Retry(
        policy: RetryPolicy(maximumAttempts: 4, maximumDelay: .seconds(2), maximumTotal: .seconds(15)), random: random,
        clock: ContinuousClock())

    /// For what runs for long and has much open.
    static func raiseOpenFiles() { cprocess_raise_open_files() }

    static var cores: Int { ProcessInfo.processInfo.activeProcessorCount }

    static func logger(_ label: String) -> Logger {
        var logger = Logger(label: label) { StreamLogHandler.standardError(label: $0) }
        let level = ProcessInfo.processInfo.environment["MUSTER_LOG_LEVEL"].flatMap(Logger.Level.init(rawValue:))
        logger.logLevel = level ?? .info
        return logger
    }

    /// What overrides `agent.yaml`, for whoever reads it in order to act.
    static var agentOverrides: [String: String] {
        overrides(["coordinator", "cores", "upload_limit_bytes", "report_every"])
    }

    /// All that the process that asks a hostile database has of ours: nothing that may be secret.
    ///
    /// Swift's backtracer would catch the signal of a crash and begin another program, which that process may not; what
    /// it then does with a signal that somebody sent is to forget it.
    static var ofDrillCheck: [String: String] {
        var environment = ["PATH": "/usr/bin:/bin", "SWIFT_BACKTRACE": "enable=no"]
        for name in ["LANG", "TZ"] { environment[name] = ProcessInfo.processInfo.environment[name] }
        return environment
    }

    /// `MUSTER_…` variables, by the key they override in a configuration file.
    private static func overrides(_ keys: [String]) -> [String: String] {
        var overrides: [String: String] = [:]
        for key in keys {
            overrides[key] = ProcessInfo.processInfo.environment["MUSTER_" + key.uppercased()]
        }
        return overrides
    }
}

extension Surroundings {
    /// For crash tests: `MUSTER_CRASH_AT` names the moment at which this process ends as by `kill -9`.
    private static let crash: @Sendable (CrashPoint) -> Void = { point in
        guard ProcessInfo.processInfo.environment["MUSTER_CRASH_AT"] == point.rawValue else { return }
        kill(getpid(), SIGKILL)
    }

    /// As systemd names it; "" where the machine has no such name.
    private static var machine: String {
        let text = try? String(contentsOfFile: "/etc/machine-id", encoding: .utf8)
        return text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
    }

    static func agentEnvironment(_ label: String) -> AgentEnvironment {
        AgentEnvironment(
            clock: clock, monotonic: monotonic, sleep: sleep, random: random, logger: logger(label), cores: cores,
            version: MusterVersion.text, machine: machine, reach: crash,
            // Whether there was any to give back does not matter.
            trimMemory: { malloc_trim(0) }, inspector: DrillCheckProcess(monotonic: monotonic))
    }
}
