import Foundation
import Glibc
import MusterTestSupport

/// Where the `muster` program is: beside the test program, or where `MUSTER_TEST_BINARY` says.
enum MusterProgram {
    struct NotFound: Error, CustomStringConvertible {
        let looked: [String]
        var description: String { "no muster program at: \(looked.joined(separator: ", "))" }
    }

    static func executable() throws -> URL {
        var candidates: [String] = []
        if let named = ProcessInfo.processInfo.environment["MUSTER_TEST_BINARY"] { candidates.append(named) }
        for program in ["/proc/self/exe", CommandLine.arguments[0]] {
            // The program may sit inside a bundle directory.
            var folder = URL(filePath: program).resolvingSymlinksInPath().deletingLastPathComponent()
            for _ in 0..<3 {
                candidates.append(folder.appending(path: "muster").path(percentEncoded: false))
                folder.deleteLastPathComponent()
            }
        }
        guard let found = candidates.first(where: { isProgram($0) }) else { throw NotFound(looked: candidates) }
        return URL(filePath: found)
    }

    /// A checkout named like the program is a folder, and folders are executable too.
    private static func isProgram(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
            && access(path, X_OK) == 0
    }
}

/// One run of `muster`; killed, as by `kill -9`, when nobody refers to it any more.
final class Launched {
    private let process: ChildProcess
    private let output: URL
    private let errors: URL

    /// - Parameter name: the beginning of the names of the files that take its output.
    init(_ arguments: [String], environment: [String: String], folder: URL, name: String) throws {
        output = folder.appending(path: name + ".out")
        errors = folder.appending(path: name + ".err")
        process = try ChildProcess(
            try MusterProgram.executable().path(percentEncoded: false), arguments, environment: environment,
            output: .file(output.path(percentEncoded: false)), errors: .file(errors.path(percentEncoded: false)))
    }

    /// How it ended: the exit status, or 128 and the signal that ended it; nil while it runs.
    var status: Int32? { process.status }
    var isRunning: Bool { process.isRunning }
    var standardOutput: String { text(output) }
    var standardError: String { text(errors) }

    func signal(_ signal: Int32) { process.signal(signal) }

    /// Ends it as a power cut would.
    func kill() async throws {
        signal(SIGKILL)
        try await end()
    }

    /// - Returns: how it ended.
    @discardableResult
    func end(within limit: Duration = .seconds(180)) async throws -> Int32 {
        try await eventually("the end of \(process.command)", within: limit) { !isRunning }
        return status ?? -1
    }

    private func text(_ url: URL) -> String {
        // A file that is gone holds nothing, and the expectation that reads it says so.
        (try? String(contentsOf: url, encoding: .utf8)) ?? ""
    }
}

struct NeverHappened: Error, CustomStringConvertible {
    let what: String
    let limit: Duration
    var description: String { "\(what) did not come within \(limit)" }
}

/// Asks until the answer is yes; the limit only says when to give up.
func eventually(
    _ what: String, within limit: Duration = .seconds(180), _ isTrue: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !isTrue() {
        guard ContinuousClock.now < deadline else { throw NeverHappened(what: what, limit: limit) }
        try await Task.sleep(for: .milliseconds(25))
    }
}
