import Foundation
import Glibc

/// Another program that a test runs; killed, as by `kill -9`, when nobody refers to it any more.
///
/// Not Foundation's `Process`: what it opens to talk to a program, and to learn of its end, is inherited by
/// any program that another thread starts at that moment. Reading to the end then waits for a stranger, and two that
/// wait for each other never end. Here a program inherits what it was given and nothing else, and no wait is without a
/// limit: one that is over throws an error that names the command.
///
/// The waits block the thread that calls them.
package final class ChildProcess {
    /// Where what it prints goes.
    package enum Destination: Equatable, Sendable {
        case nowhere
        /// Where the test program itself prints.
        case inherited
        /// To `readLine` and `readToEnd`; in the order it came if output and errors both go there.
        case reader
        case file(String)
    }

    package struct Failure: Error, CustomStringConvertible {
        package let command: String
        package let reason: String
        package var description: String { "\(command): \(reason)" }
    }

    package let command: String
    private let identifier: pid_t
    private var input: SocketEnd?
    private let output: SocketEnd?
    private var unread: [UInt8] = []
    private var knownStatus: Int32?

    /// - Parameter program: a path, or a name that is looked for in PATH.
    package init(
        _ program: String, _ arguments: [String], environment: [String: String]? = nil, takesInput: Bool = false,
        output: Destination = .nowhere, errors: Destination = .inherited
    ) throws {
        command = ([program] + arguments).joined(separator: " ")
        do throws(SystemCallFailure) {
            let (inputPair, outputPair) = (
                takesInput ? try SocketEnd.pair() : nil,
                [output, errors].contains(.reader) ? try SocketEnd.pair() : nil
            )
            let spawn = Spawn(
                program: program, arguments: arguments,
                environment: environment ?? ProcessInfo.processInfo.environment,
                input: inputPair?.theirs, output: output, errors: errors, reader: outputPair?.theirs)
            (self.input, self.output) = (inputPair?.ours, outputPair?.ours)
            // Last: once every property is set, a throwing init runs deinit.
            identifier = try spawn.start()
        } catch {
            throw Failure(command: command, reason: error.description)
        }
    }

    deinit { kill() }

    /// Runs a program to its end.
    ///
    /// - Returns: how it ended, and what it printed.
    package static func run(
        _ program: String, _ arguments: [String], errors: Destination = .reader, within limit: Duration = .seconds(60)
    ) throws -> (status: Int32, output: String) {
        let child = try ChildProcess(program, arguments, output: .reader, errors: errors)
        let deadline = ContinuousClock.now + limit
        let output = try child.readToEnd(within: limit)
        return (try child.end(within: deadline - .now), output)
    }

    // MARK: Its life

    /// How it ended: the exit status, or 128 and the signal that ended it; nil while it runs.
    package var status: Int32? {
        guard knownStatus == nil else { return knownStatus }
        var raw: Int32 = 0
        guard waitpid(identifier, &raw, WNOHANG) == identifier else { return nil }
        // POSIX's WIFEXITED and its relatives are macros, which Swift does not see.
        knownStatus = raw & 0x7F == 0 ? raw >> 8 & 0xFF : 128 + raw & 0x7F
        return knownStatus
    }

    package var isRunning: Bool { status == nil }

    /// Does nothing if it has ended: its number may be another's by now.
    package func signal(_ signal: Int32) {
        guard isRunning else { return }
        Glibc.kill(identifier, signal)
    }

    /// Ends it as a power cut would, and waits until it is gone.
    package func kill() {
        signal(SIGKILL)
        // One that the kernel cannot end is left behind: nobody could do more.
        _ = waitForEnd(until: .now + .seconds(60))
    }

    /// - Returns: how it ended.
    package func end(within limit: Duration = .seconds(60)) throws -> Int32 {
        guard let status = waitForEnd(until: .now + limit) else { throw failure("did not end within \(limit)") }
        return status
    }

    private func waitForEnd(until deadline: ContinuousClock.Instant) -> Int32? {
        while true {
            if let status { return status }
            guard ContinuousClock.now < deadline else { return nil }
            usleep(1000)
        }
    }

    // MARK: Talking with it

    package func write(_ text: String) throws {
        guard let input else { throw failure("takes no input") }
        do throws(SystemCallFailure) { try input.send(Array(text.utf8)) } catch { throw failure(error.description) }
    }

    /// Lets it read the end of its input.
    package func closeInput() { input = nil }

    /// - Returns: the next line without its end, or nil if there is none.
    package func readLine(within limit: Duration = .seconds(60)) throws -> String? {
        let deadline = ContinuousClock.now + limit
        while true {
            if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
                defer { unread.removeFirst(end + 1) }
                return String(decoding: unread[..<end], as: UTF8.self)
            }
            guard try readMore(until: deadline, limit) else { return nil }
        }
    }

    /// - Returns: what was not read yet, once its output is closed.
    package func readToEnd(within limit: Duration = .seconds(60)) throws -> String {
        let deadline = ContinuousClock.now + limit
        while try readMore(until: deadline, limit) {}
        defer { unread = [] }
        return String(decoding: unread, as: UTF8.self)
    }

    /// - Returns: false at the end.
    private func readMore(until deadline: ContinuousClock.Instant, _ limit: Duration) throws -> Bool {
        guard let output else { throw failure("its output goes elsewhere") }
        do throws(SystemCallFailure) {
            guard let bytes = try output.receive(until: deadline) else {
                throw SystemCallFailure("said nothing more within \(limit)")
            }
            unread += bytes
            return !bytes.isEmpty
        } catch {
            throw failure(error.description)
        }
    }

    private func failure(_ reason: String) -> Failure {
        Failure(command: command, reason: unread.isEmpty ? reason : "\(reason); it printed: \(unreadText)")
    }

    private var unreadText: String { String(decoding: unread.suffix(2000), as: UTF8.self) }
}
