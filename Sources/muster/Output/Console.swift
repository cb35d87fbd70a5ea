import Foundation
import Glibc
import MusterModel
import Synchronization

/// Results go to standard output, everything else to standard error.
enum Console {
    static func result(_ text: String) {
        let code = write(text.hasSuffix("\n") ? text : text + "\n", to: STDOUT_FILENO)
        // A reader that closes its end has seen enough; a full disk has lost what a script waits for.
        guard code != 0, code != EPIPE else { return }
        failure.withLock { $0 = $0 ?? String(cString: strerror(code)) }
    }

    /// Why a result did not reach standard output; the command has failed then, whatever else it did.
    static var resultFailure: String? { failure.withLock { $0 } }

    private static let failure = Mutex<String?>(nil)

    /// Nobody is left to tell when standard error is gone.
    static func note(_ text: String) { _ = write(text + "\n", to: STDERR_FILENO) }

    static func error(_ error: any ActionableError) {
        note("error: \(error.summary)\nhint: \(error.hint)")
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }
    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Overwrites the current line of the terminal.
    static func redraw(_ text: String) { _ = write("\r\u{1B}[2K" + text, to: STDERR_FILENO) }

    /// - Returns: 0, or the system's reason.
    private static func write(_ text: String, to descriptor: Int32) -> Int32 {
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count < 0 ? errno : EIO }
            written += count
        }
        return 0
    }
}
