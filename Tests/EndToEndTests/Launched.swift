import Foundation
import Glibc
import StressRig

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
///
/// Not Foundation's `Process`: on Linux it leaves descriptors behind, and a test here starts hundreds.
final class Launched {
    struct NotStarted: Error, CustomStringConvertible {
        let code: Int32
        var description: String { "muster was not started: \(String(cString: strerror(code)))" }
    }

    /// How it ended: the exit status, or 128 and the signal that ended it; nil while it runs.
    private(set) var status: Int32?
    private let identifier: pid_t
    private let command: String
    private let output: URL
    private let errors: URL

    /// - Parameter name: the beginning of the names of the files that take its output.
    init(_ arguments: [String], environment: [String: String], folder: URL, name: String) throws {
        output = folder.appending(path: name + ".out")
        errors = folder.appending(path: name + ".err")
        command = arguments.joined(separator: " ")
        identifier = try Self.spawn(
            try MusterProgram.executable().path(percentEncoded: false), arguments, environment,
            output: output.path(percentEncoded: false), errors: errors.path(percentEncoded: false))
    }

    deinit {
        guard isRunning else { return }
        signal(SIGKILL)
        var raw: Int32 = 0
        waitpid(identifier, &raw, 0)
    }

    var isRunning: Bool {
        guard status == nil else { return false }
        var raw: Int32 = 0
        guard waitpid(identifier, &raw, WNOHANG) == identifier else { return true }
        // POSIX's WIFEXITED and its relatives are macros, which Swift does not see.
        status = raw & 0x7F == 0 ? raw >> 8 & 0xFF : 128 + raw & 0x7F
        return false
    }

    var standardOutput: String { text(output) }
    var standardError: String { text(errors) }

    func signal(_ signal: Int32) {
        guard isRunning else { return }
        Glibc.kill(identifier, signal)
    }

    /// Ends it as a power cut would.
    func kill() async throws {
        signal(SIGKILL)
        try await end()
    }

    /// - Returns: how it ended.
    @discardableResult
    func end(within limit: Duration = .seconds(60)) async throws -> Int32 {
        try await eventually("the end of muster \(command)", within: limit) { !isRunning }
        return status ?? -1
    }

    private static func spawn(
        _ program: String, _ arguments: [String], _ environment: [String: String], output: String, errors: String
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        for (descriptor, path) in [(Int32(1), output), (Int32(2), errors)] {
            posix_spawn_file_actions_addopen(&actions, descriptor, path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        }
        // What other tests of this process have open is none of its business.
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            guard let descriptor = Int32(name), descriptor > 2 else { continue }
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        // What the test program blocks, the program under test must not.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        let words = ([program] + arguments).map { strdup($0) }
        let variables = environment.map { strdup("\($0.key)=\($0.value)") }
        defer { (words + variables).forEach { free($0) } }
        var identifier: pid_t = 0
        let code = posix_spawn(&identifier, program, &actions, &attributes, words + [nil], variables + [nil])
        guard code == 0 else { throw NotStarted(code: code) }
        return identifier
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
    _ what: String, within limit: Duration = .seconds(60), _ isTrue: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !isTrue() {
        guard ContinuousClock.now < deadline else { throw NeverHappened(what: what, limit: limit) }
        try await Task.sleep(for: .milliseconds(25))
    }
}
