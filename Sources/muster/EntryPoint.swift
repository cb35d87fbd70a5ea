import ArgumentParser
import CProcess
import Foundation
import MusterAPI
import MusterModel

@main
struct EntryPoint {
    static func main() async {
        // A reader that closes its end early ends our output, not the process without a word.
        signal(SIGPIPE, SIG_IGN)
        boundTheHeap()
        do {
            var command = try Muster.parseAsRoot()
            if var asyncCommand = command as? any AsyncParsableCommand {
                try await asyncCommand.run()
            } else {
                try command.run()
            }
            end(with: 0)
        } catch {
            end(with: report(error))
        }
    }

    /// Ends the process at once: OpenSSL's exit handler frees locks that the transfer thread may be using while it
    /// closes its connections, and then a command that was done ends by a signal (OPENSSL_init_crypto(3)).
    private static func end(with status: Int32) -> Never {
        fflush(nil)
        guard let reason = Console.resultFailure else { _exit(status) }
        Console.note(
            """
            error: the result could not be written to standard output: \(reason)
            hint: Make room where the output goes; what the command did is done.
            """)
        _exit(Outcome.failed.exitStatus)
    }

    /// glibc keeps freed memory for later in one arena a thread, and raises the size from which it gives memory
    /// back with every large block freed (mallopt(3), M_MMAP_THRESHOLD). Packs and batches are large blocks that
    /// pass from thread to thread: left alone, the process holds twice what it uses.
    private static func boundTheHeap() {
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
        mallopt(M_TRIM_THRESHOLD, 4 << 20)
    }

    /// Says what went wrong on standard error and returns the exit status of the contract.
    private static func report(_ error: any Error) -> Int32 {
        if let status = error as? Outcome { return status.exitStatus }
        if let error = error as? CoordinatorError, error.isNotFound {
            Console.error(error)
            return Outcome.notFound.exitStatus
        }
        if let error = error as? any ActionableError {
            Console.error(error)
            return (error as? NamedThingMissing).map { _ in Outcome.notFound.exitStatus } ?? Outcome.failed.exitStatus
        }
        let status = Muster.exitCode(for: error)
        if status == .success || status == .validationFailure || error is CleanExit {
            // Help, version and usage errors are ArgumentParser's own texts.
            Muster.exit(withError: error)
        }
        if error is ExitCode { return status.rawValue }
        Console.error(UnforeseenError(error))
        return Outcome.failed.exitStatus
    }
}

/// How a command ended, where it did not end well; everything was already said.
enum Outcome: Error {
    case failed
    case partly
    case notFound
    /// Of a check that a monitor makes; the numbers are those of its plug-ins.
    case monitored(MonitorState)

    var exitStatus: Int32 {
        switch self {
        case .failed: 1
        case .partly: 2
        case .notFound: 3
        case .monitored(let state): state.rawValue
        }
    }
}

/// A thing that the command line names does not exist.
struct NamedThingMissing: ActionableError {
    let summary: String
    let hint: String
    var isTransient: Bool { false }
}

/// An error that says nothing of its own about what to do.
struct UnforeseenError: ActionableError {
    let summary: String

    init(_ error: any Error) { summary = String(describing: error) }

    var hint: String { "Try again, with MUSTER_LOG_LEVEL=debug for the roles; if it stays, report it with this line." }
    var isTransient: Bool { false }
}
