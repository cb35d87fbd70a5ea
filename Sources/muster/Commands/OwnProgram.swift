import Foundation

/// Starts this very program again, as a process of its own.
enum OwnProgram {
    struct StartFailure: Error, CustomStringConvertible {
        let description: String

        init(_ what: String, _ code: Int32) { description = "\(what): \(String(cString: strerror(code)))" }
    }

    /// - Parameters:
    ///   - arguments: of its command line, its name first.
    ///   - descriptors: what of ours it has, and under which number; in this order. All else of ours that it may
    ///     have is closed where it is opened with `O_CLOEXEC`.
    ///   - environment: nil for ours.
    ///   - isSilent: it has no standard error.
    static func start(
        _ arguments: [String], descriptors: [(ours: Int32, its: Int32)], environment: [String: String]? = nil,
        isSilent: Bool = false
    ) throws -> pid_t {
        func check(_ code: Int32) throws {
            if code != 0 { throw StartFailure("'muster \(arguments.dropFirst().first ?? "")' was not started", code) }
        }
        var actions = posix_spawn_file_actions_t()
        try check(posix_spawn_file_actions_init(&actions))
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (ours, its) in descriptors { try check(posix_spawn_file_actions_adddup2(&actions, ours, its)) }
        if isSilent { try check(posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)) }
        var attributes = posix_spawnattr_t()
        try check(posix_spawnattr_init(&attributes))
        defer { posix_spawnattr_destroy(&attributes) }
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        try check(posix_spawnattr_setsigmask(&attributes, &none))
        try check(posix_spawnattr_setsigdefault(&attributes, &all))
        // A group of its own: a key at the terminal reaches us alone, and we pass it on once.
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
        try check(posix_spawnattr_setflags(&attributes, Int16(flags)))
        let words = arguments.map { strdup($0) }
        defer { words.forEach { free($0) } }
        let settings = environment?.map { strdup("\($0.key)=\($0.value)") }
        defer { settings?.forEach { free($0) } }
        var process: pid_t = 0
        if let settings {
            try check(
                posix_spawn(&process, "/proc/self/exe", &actions, &attributes, words + [nil], settings + [nil]))
        } else {
            try check(posix_spawn(&process, "/proc/self/exe", &actions, &attributes, words + [nil], environ))
        }
        return process
    }

    /// Puts a new life of this program in the place of this one, in the same process.
    static func startAnew(_ arguments: [String]) throws {
        // What we ignored or blocked would stay so in the next life. SIGHUP is to stay ignored until that heeds it: by
        // default it ends a process.
        for number in [SIGTERM, SIGINT] { signal(number, SIG_DFL) }
        signal(SIGHUP, SIG_IGN)
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        // What a library opened, such as a listening socket, may lack this mark.
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        }
        let words = arguments.map { strdup($0) }
        defer { words.forEach { free($0) } }
        execv("/proc/self/exe", words + [nil])
        throw StartFailure("'muster' was not started anew", errno)
    }

    /// How a process ended.
    enum End: Equatable, Sendable {
        case exit(Int32)
        case signal(Int32)
    }

    /// - Parameter options: as those of waitpid(2).
    /// - Returns: nil where it has not ended.
    static func end(of process: pid_t, _ options: Int32) -> End? {
        var raw: Int32 = 0
        var found = waitpid(process, &raw, options)
        while found < 0, errno == EINTR { found = waitpid(process, &raw, options) }
        guard found == process else { return nil }
        // POSIX's WIFEXITED and its relatives are macros, which Swift does not see.
        return raw & 0x7F == 0 ? .exit(raw >> 8 & 0xFF) : .signal(raw & 0x7F)
    }
}
