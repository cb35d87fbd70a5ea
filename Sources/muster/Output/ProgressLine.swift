import Synchronization

/// One line on a terminal that tells how far long work is; silent where there is no terminal.
final class ProgressLine: Sendable {
    private struct State {
        var shown = ""
        var percent = -1
    }

    private let isShown: Bool
    private let title: String
    private let state = Mutex(State())

    init(_ title: String, isShown: Bool = Console.errorIsTerminal) {
        self.title = title
        self.isShown = isShown
    }

    /// Draws again when the whole percentage changed.
    func update(done: UInt64, of total: UInt64) {
        guard isShown, total > 0 else { return }
        let percent = Int(min(done, total) * 100 / total)
        let text = state.withLock { state -> String? in
            guard percent != state.percent else { return nil }
            state.percent = percent
            return "\(title): \(percent) % (\(Quantity.bytes(done)) of \(Quantity.bytes(total)))"
        }
        if let text { Console.redraw(text) }
    }

    func update(_ text: String) {
        guard isShown else { return }
        let isNew = state.withLock { state in
            defer { state.shown = text }
            return state.shown != text
        }
        if isNew { Console.redraw("\(title): \(text)") }
    }

    /// Clears the line.
    func finish() {
        if isShown { Console.redraw("") }
    }
}
