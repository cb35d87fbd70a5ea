package import Foundation
import Glibc

/// Where the `stress-workload` program is: beside the test program, or where `MUSTER_STRESS_WORKLOAD` says.
package enum Workload {
    package struct NotFound: Error, CustomStringConvertible {
        let looked: [String]
        package var description: String { "no stress-workload program at: \(looked.joined(separator: ", "))" }
    }

    package static func executable() throws -> URL {
        var candidates: [String] = []
        if let named = ProcessInfo.processInfo.environment["MUSTER_STRESS_WORKLOAD"] { candidates.append(named) }
        let programs = [
            URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath(),
            URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath(), Bundle.main.bundleURL,
        ]
        for program in programs {
            // The program may sit inside a bundle directory.
            var folder = program.deletingLastPathComponent()
            for _ in 0..<3 {
                candidates.append(folder.appendingPathComponent("stress-workload").path)
                folder.deleteLastPathComponent()
            }
        }
        guard let found = candidates.first(where: { access($0, X_OK) == 0 }) else { throw NotFound(looked: candidates) }
        return URL(fileURLWithPath: found)
    }

    /// Starts a role and does not wait for it.
    package static func start(_ arguments: [String], input: Pipe? = nil, output: Pipe? = nil) throws -> Process {
        let process = Process()
        process.executableURL = try executable()
        process.arguments = arguments
        process.standardInput = input ?? FileHandle.nullDevice
        if let output { process.standardOutput = output }
        try process.run()
        return process
    }
}

/// Another process with the database open, which does what the test says, when it says it.
package final class ApplicationProcess {
    package struct Refused: Error, CustomStringConvertible {
        package let description: String
    }

    private let process: Process
    private let input = Pipe()
    private let output = Pipe()
    private var unread = Data()

    package init(path: String) throws {
        process = try Workload.start(["shell", path], input: input, output: output)
        _ = try answer()
    }

    deinit { kill() }

    /// Runs SQL in that process. Only `SELECT` and `PRAGMA` bring rows back: tab-separated lines.
    @discardableResult
    package func run(_ sql: String) throws -> [String] {
        try input.fileHandleForWriting.write(contentsOf: Data((sql + "\n").utf8))
        return try answer()
    }

    /// Closes the database as an application that ends normally; the process stays.
    package func close() throws { try run(".close") }
    package func reopen() throws { try run(".open") }

    /// Ends the process at once, as `kill -9` does.
    package func kill() {
        guard process.isRunning else { return }
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    private func answer() throws -> [String] {
        var lines: [String] = []
        while true {
            let line = try nextLine()
            if line == "ok" { return lines }
            if line.hasPrefix("error ") { throw Refused(description: String(line.dropFirst(6))) }
            lines.append(line)
        }
    }

    private func nextLine() throws -> String {
        while true {
            if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: unread[unread.startIndex..<end], as: UTF8.self)
                unread = Data(unread[unread.index(after: end)...])
                return line
            }
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { throw Refused(description: "the application process ended") }
            unread += more
        }
    }
}
