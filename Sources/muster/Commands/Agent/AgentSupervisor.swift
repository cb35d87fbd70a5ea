import Foundation
import Logging
import MusterModel
import Synchronization
import UnixSignals

/// Starts the agent as a process of its own and kills it if it stands still.
///
/// An agent that is stopped, or swapped out, or hangs on a dead disk, still holds its locks on live databases, and
/// then their WALs grow without end. Only its death gives the locks back for certain: the kernel drops them. It is
/// started again then. Where it ends by itself this process ends in the same way, so that whoever started it decides.
final class AgentSupervisor: Sendable {
    /// How old the last heartbeat may be.
    static let patience = Duration.seconds(5)
    /// Before the first one, a loaded machine needs its time.
    private static let startPatience = Duration.seconds(60)
    /// Our own steps come this often; if they do not, it was the machine that stood still.
    private static let step = Duration.milliseconds(250)
    private static let longestPause = Duration.seconds(60)

    private struct State {
        var process: pid_t?
        var isBeating = false
        var isEnding = false
    }

    private let arguments: [String]
    private let monotonic: @Sendable () -> Duration
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameter arguments: of the agent's command line, `AgentRun` in the form that works itself.
    init(arguments: [String], monotonic: @escaping @Sendable () -> Duration, logger: Logger) {
        (self.arguments, self.monotonic, self.logger) = (arguments, monotonic, logger)
    }

    /// Runs agents, one after the other, until one ends by itself.
    func run() async throws -> OwnProgram.End {
        // Who started us may ignore it, and then nobody could be told how the agent ended (waitpid(2)).
        signal(SIGCHLD, SIG_DFL)
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        let forwarding = Task { for await signal in signals { forward(signal.rawValue) } }
        defer { forwarding.cancel() }
        return try await withCheckedThrowingContinuation { continuation in
            // The agent dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG), so this one lasts.
            let thread = Thread { continuation.resume(with: Result { try self.supervise() }) }
            thread.name = "muster-supervise"
            thread.start()
        }
    }

    private func forward(_ signal: Int32) {
        let process = state.withLock { state in
            if signal != SIGHUP { state.isEnding = true }
            // Until its heart beats it would die of a signal that it does not expect, and it reads its file then anyway.
            return signal == SIGHUP && !state.isBeating ? nil : state.process
        }
        if let process { kill(process, signal) }
    }

    private var isEnding: Bool { state.withLock { $0.isEnding } }

    private func supervise() throws -> OwnProgram.End {
        var pause = Duration.seconds(1)
        while !isEnding {
            let startedAt = monotonic()
            if let end = try watchOne() { return end }
            if monotonic() - startedAt > Self.longestPause { pause = .seconds(1) }
            let end = monotonic() + pause
            while !isEnding, monotonic() < end { usleep(UInt32(Self.step.microseconds)) }
            pause = min(pause * 2, Self.longestPause)
        }
        return .exit(0)
    }

    /// - Returns: nil if it stood still and was killed.
    private func watchOne() throws -> OwnProgram.End? {
        let (process, heart) = try start()
        defer { close(heart) }
        let isEnding = state.withLock { state in
            (state.process, state.isBeating) = (process, false)
            return state.isEnding
        }
        defer { state.withLock { $0.process = nil } }
        // It was told while nobody was there to be told.
        if isEnding { kill(process, SIGTERM) }
        var (lastBeat, lastStep, patience) = (monotonic(), monotonic(), Self.startPatience)
        while true {
            let sign = awaitSign(heart)
            // It closes its end by ending.
            if let end = OwnProgram.end(of: process, sign == .closed ? 0 : WNOHANG) { return end }
            let now = monotonic()
            if sign == .beat {
                (lastBeat, patience) = (now, Self.patience)
                state.withLock { $0.isBeating = true }
            }
            // This process stood still too: that says nothing about the agent.
            if now - lastStep > Self.step * 8 { lastBeat = now }
            lastStep = now
            guard now - lastBeat > patience else { continue }
            logger.error(
                "the agent stands still: killed, so that it holds no lock", metadata: ["process": "\(process)"])
            kill(process, SIGKILL)
            _ = OwnProgram.end(of: process, 0)
            return nil
        }
    }

    private enum Sign { case beat, silence, closed }

    /// Waits for a step at most.
    private func awaitSign(_ heart: Int32) -> Sign {
        var request = pollfd(fd: heart, events: Int16(POLLIN), revents: 0)
        guard poll(&request, 1, Int32(Self.step.microseconds / 1000)) > 0 else {
            return .silence
        }
        var beats = [UInt8](repeating: 0, count: 64)
        return read(heart, &beats, beats.count) > 0 ? .beat : .closed
    }

    /// - Returns: its process id, and our end of the line on which its heart beats.
    private func start() throws -> (pid_t, heart: Int32) {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw OwnProgram.StartFailure("no line to the agent", errno)
        }
        defer { close(ends[1]) }
        do {
            return (try OwnProgram.start(arguments, descriptors: [(ends[1], Heartbeat.descriptor)]), ends[0])
        } catch {
            close(ends[0])
            throw error
        }
    }
}
