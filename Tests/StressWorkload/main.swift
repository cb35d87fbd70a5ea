/// An application for tests: a process of its own that uses one database hard, until it is killed or orphaned.
///
/// Roles: `initialise`, `writer`, `checkpointer`, `vacuumer`, `reader` keep one invariant (see `Schedule`); `shell`
/// runs SQL that comes line by line, so that a test decides what another process holds and when; `capture` captures
/// once, as another user if asked; `follow` captures again and again.
import Glibc
import MusterSQLite

let arguments = Array(CommandLine.arguments.dropFirst())
guard arguments.count >= 2, let role = Role(rawValue: arguments[0]) else {
    complain("usage: stress-workload ROLE DATABASE [OPTION=VALUE ...]")
    exit(64)
}
do {
    try role.run(path: arguments[1], options: Options(arguments.dropFirst(2)))
} catch {
    complain("stress-workload \(role.rawValue): \(error)")
    exit(1)
}

func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    // Nobody is left to tell if this fails.
    _ = write(2, line, line.count)
}
