import Foundation
import MusterEngine
import MusterModel
import MusterSQLite
import Synchronization

/// Asks rebuilt databases in a process of its own for each: `muster drill-check`.
///
/// Whatever a hostile database does to that process, this one lives on and knows why there is no answer.
struct DrillCheckProcess: RebuiltInspector {
    private static let longestAnswer = 4 << 20
    /// Beyond the time that the questions give, for what the process itself needs.
    private static let grace = Duration.seconds(60)
    private static let stepMilliseconds: Int32 = 200

    let monotonic: @Sendable () -> Duration
    /// The process dies with the thread that started it, and so that thread waits for it.
    private let pool = BlockingPool(label: "muster-drill-check", width: 1)

    init(monotonic: @escaping @Sendable () -> Duration) { self.monotonic = monotonic }

    func answers(to questions: RebuiltQuestions, at path: String) async throws -> RebuiltAnswers {
        let request = try JSONEncoder().encode(questions)
        let isCancelled = Flag()
        let limit = Duration.seconds(questions.seconds) + Self.grace
        return try await withTaskCancellationHandler {
            try await pool.run {
                let child = try Child(database: path)
                defer { child.end() }
                return try child.converse(request, until: monotonic() + limit, monotonic, isCancelled)
            }
        } onCancel: {
            isCancelled.set()
        }
    }

    final class Flag: Sendable {
        private let value = Atomic<Bool>(false)
        var isSet: Bool { value.load(ordering: .relaxed) }
        func set() { value.store(true, ordering: .relaxed) }
    }

    /// One process, and our end of the line to it.
    private final class Child {
        private let process: pid_t
        private let line: Int32
        private var hasEnded = false

        init(database path: String) throws {
            let database = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            guard database >= 0 else { throw OwnProgram.StartFailure("'\(path)' cannot be opened", errno) }
            defer { close(database) }
            var ends: [Int32] = [-1, -1]
            guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
                throw OwnProgram.StartFailure("no line to the inspection", errno)
            }
            defer { close(ends[1]) }
            do {
                process = try OwnProgram.start(
                    ["muster", "drill-check"],
                    descriptors: [(ends[1], 0), (ends[1], 1), (database, DrillCheck.database)],
                    environment: Surroundings.ofDrillCheck, isSilent: true)
            } catch {
                close(ends[0])
                throw error
            }
            line = ends[0]
        }

        /// Ends the process if it has not ended, and waits for that.
        func end() {
            if !hasEnded {
                kill(process, SIGKILL)
                _ = OwnProgram.end(of: process, 0)
            }
            close(line)
        }

        func converse(
            _ request: Data, until deadline: Duration, _ monotonic: () -> Duration, _ isCancelled: Flag
        ) throws -> RebuiltAnswers {
            send(request)
            var answer: [UInt8] = []
            while true {
                if isCancelled.isSet { throw CancellationError() }
                guard monotonic() < deadline else { throw Self.failure("it took too long") }
                guard let piece = receive() else { continue }
                if piece.isEmpty { break }
                answer += piece
                guard answer.count <= DrillCheckProcess.longestAnswer else {
                    throw Self.failure("its answer is endless")
                }
            }
            var end: OwnProgram.End?
            while end == nil {
                if isCancelled.isSet { throw CancellationError() }
                guard monotonic() < deadline else { throw Self.failure("it took too long") }
                end = OwnProgram.end(of: process, WNOHANG)
                // Nothing is ever sent again: this only lets some time pass.
                if end == nil { poll(nil, 0, 5) }
            }
            hasEnded = true
            return try Self.answers(answer, end ?? .exit(-1))
        }

        /// What does not get through is missed by the other side, which says so by ending.
        private func send(_ request: Data) {
            var rest = [UInt8](request)[...]
            while !rest.isEmpty {
                let sent = rest.withUnsafeBytes { Glibc.send(line, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                if sent < 0, errno == EINTR { continue }
                guard sent > 0 else { break }
                rest = rest.dropFirst(sent)
            }
            shutdown(line, Int32(SHUT_WR))
        }

        /// - Returns: nil where nothing came within a step; empty at the end.
        private func receive() -> [UInt8]? {
            var request = pollfd(fd: line, events: Int16(POLLIN), revents: 0)
            guard poll(&request, 1, DrillCheckProcess.stepMilliseconds) > 0 else { return nil }
            var piece = [UInt8](repeating: 0, count: 64 << 10)
            let count = recv(line, &piece, piece.count, 0)
            if count < 0, errno == EINTR { return nil }
            return Array(piece.prefix(max(0, count)))
        }

        private static func answers(_ bytes: [UInt8], _ end: OwnProgram.End) throws -> RebuiltAnswers {
            switch end {
            case .exit(0):
                do {
                    return try JSONDecoder().decode(RebuiltAnswers.self, from: Data(bytes))
                } catch {
                    throw failure("its answer cannot be read")
                }
            case .exit: throw InspectionNotBegun()
            case .signal(SIGXCPU), .signal(SIGALRM): throw failure("it took too long")
            case .signal(SIGKILL): throw failure("it was killed, as happens where memory runs out")
            case .signal(let number): throw failure("it crashed (signal \(number))")
            }
        }

        private static func failure(_ what: String) -> RebuiltInspectionFailure {
            RebuiltInspectionFailure(reason: "the rebuilt database was not inspected to the end: \(what)")
        }
    }
}

/// The process ended before it looked at the database.
private struct InspectionNotBegun: ActionableError {
    var summary: String { "the process that inspects rebuilt databases could not confine itself" }
    var hint: String { "Run 'muster doctor' on the node; it must be able to change its user, or not run as root." }
    var isTransient: Bool { false }
}
