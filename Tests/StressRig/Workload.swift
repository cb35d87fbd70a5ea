package import Foundation
import Glibc
package import MusterTestSupport

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
    package static func start(
        _ arguments: [String], takesInput: Bool = false, output: ChildProcess.Destination = .inherited
    ) throws -> ChildProcess {
        try ChildProcess(try executable().path, arguments, takesInput: takesInput, output: output)
    }
}

/// Another process with the database open, which does what the test says, when it says it.
package final class ApplicationProcess {
    package struct Refused: Error, CustomStringConvertible {
        package let description: String
    }

    private let process: ChildProcess

    package init(path: String) throws {
        process = try Workload.start(["shell", path], takesInput: true, output: .reader)
        _ = try answer()
    }

    /// Runs SQL in that process. Only `SELECT` and `PRAGMA` bring rows back: tab-separated lines.
    @discardableResult
    package func run(_ sql: String) throws -> [String] {
        try process.write(sql + "\n")
        return try answer()
    }

    /// Closes the database as an application that ends normally; the process stays.
    package func close() throws { try run(".close") }
    package func reopen() throws { try run(".open") }

    /// Ends the process at once, as `kill -9` does.
    package func kill() { process.kill() }

    private func answer() throws -> [String] {
        var lines: [String] = []
        while true {
            guard let line = try process.readLine() else {
                throw Refused(description: "the application process ended")
            }
            if line == "ok" { return lines }
            if line.hasPrefix("error ") { throw Refused(description: String(line.dropFirst(6))) }
            lines.append(line)
        }
    }
}
