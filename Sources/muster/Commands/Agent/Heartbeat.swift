import CProcess
import Foundation
import MusterModel

/// The agent's side of `AgentSupervisor`: says that it lives, and does not outlive the one who listens.
enum Heartbeat {
    /// Where the supervisor puts the line.
    static let descriptor: Int32 = 3
    private static let period = Duration.milliseconds(500)

    /// - Parameter isStalled: asked before each beat; while it is true none comes.
    static func start(isStalled: @escaping @Sendable () -> Bool) {
        // If the supervisor is killed, this process is too, even while it is stopped.
        guard cprocess_die_with_parent() == 0 else {
            kill(getpid(), SIGKILL)
            return
        }
        // It was started by the link to its program, and ps would show the link's name; nothing depends on it.
        try? Data("muster".utf8).write(to: URL(filePath: "/proc/self/comm"))
        let thread = Thread { beat(isStalled) }
        thread.name = "muster-heartbeat"
        thread.stackSize = 256 << 10
        thread.start()
    }

    private static func beat(_ isStalled: () -> Bool) {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while true {
            if !isStalled() {
                var one: UInt8 = 1
                // A full line means that nobody listens for a while; it says the same with the next beat.
                _ = send(descriptor, &one, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            }
            let milliseconds = Int32(period.microseconds / 1000)
            // Nothing is ever sent to us: what is there to read is the end of the line.
            guard poll(&request, 1, milliseconds) <= 0 else {
                kill(getpid(), SIGKILL)
                return
            }
        }
    }
}
