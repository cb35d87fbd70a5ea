import Foundation
import Glibc

/// How a program is started: what it is given, and that it gets nothing else.
struct Spawn {
    let program: String
    let arguments: [String]
    let environment: [String: String]
    let input: SocketEnd?
    let output: ChildProcess.Destination
    let errors: ChildProcess.Destination
    let reader: SocketEnd?

    func start() throws(SystemCallFailure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        try check(posix_spawn_file_actions_init(&actions))
        defer { posix_spawn_file_actions_destroy(&actions) }
        try addStreams(to: &actions)
        try addClosing(to: &actions)

        var attributes = posix_spawnattr_t()
        try check(posix_spawnattr_init(&attributes))
        defer { posix_spawnattr_destroy(&attributes) }
        try resetSignals(in: &attributes)

        let words = ([program] + arguments).map { strdup($0) }
        let variables = environment.map { strdup("\($0.key)=\($0.value)") }
        defer { (words + variables).forEach { free($0) } }
        var identifier: pid_t = 0
        try check(posix_spawnp(&identifier, program, &actions, &attributes, words + [nil], variables + [nil]))
        return identifier
    }

    private func addStreams(to actions: inout posix_spawn_file_actions_t) throws(SystemCallFailure) {
        if let input {
            try check(posix_spawn_file_actions_adddup2(&actions, input.number, 0))
        } else {
            try check(posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0))
        }
        for (number, destination) in [(Int32(1), output), (2, errors)] {
            switch destination {
            case .inherited: break
            case .nowhere: try check(posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_WRONLY, 0))
            case .reader:
                guard let reader else { preconditionFailure("nobody reads") }
                try check(posix_spawn_file_actions_adddup2(&actions, reader.number, number))
            case .file(let path):
                let flags = O_WRONLY | O_CREAT | O_TRUNC
                try check(posix_spawn_file_actions_addopen(&actions, number, path, flags, 0o600))
            }
        }
    }

    /// What libraries in this process opened without closing it on exec, such as libcurl's sockets, is none of its
    /// business. One that another thread opens from here on still slips through; those of `SocketEnd` never do.
    private func addClosing(to actions: inout posix_spawn_file_actions_t) throws(SystemCallFailure) {
        let names: [String]
        do { names = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") } catch {
            throw SystemCallFailure("no list of open files: \(error)")
        }
        for number in names.compactMap({ Int32($0) }) where number > 2 {
            try check(posix_spawn_file_actions_addclose(&actions, number))
        }
    }

    /// What the test program blocks or ignores, the program under test must not.
    private func resetSignals(in attributes: inout posix_spawnattr_t) throws(SystemCallFailure) {
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        try check(posix_spawnattr_setsigmask(&attributes, &none))
        try check(posix_spawnattr_setsigdefault(&attributes, &all))
        try check(posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)))
    }

    private func check(_ code: Int32) throws(SystemCallFailure) {
        guard code == 0 else { throw SystemCallFailure("not started", code: code) }
    }
}
