import Foundation
import MusterModel

/// Results go to standard output, everything else to standard error.
enum Console {
    static func result(_ text: String) {
        write(text.hasSuffix("\n") ? text : text + "\n", to: .standardOutput)
    }

    static func note(_ text: String) { write(text + "\n", to: .standardError) }

    static func error(_ error: any ActionableError) {
        note("error: \(error.summary)\nhint: \(error.hint)")
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Overwrites the current line of the terminal.
    static func redraw(_ text: String) { write("\r\u{1B}[2K" + text, to: .standardError) }

    private static func write(_ text: String, to file: FileHandle) {
        // Nobody is left to tell when standard output or error is gone.
        try? file.write(contentsOf: Data(text.utf8))
    }
}
