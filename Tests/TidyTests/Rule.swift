/// Something that must hold of every file, with the proof that it can fail.
struct Rule: Sendable, CustomStringConvertible {
    let description: String
    /// Files that break it: each must be refused, or the rule checks nothing.
    let refused: [Example]
    /// Files that come close and are right.
    let accepted: [Example]
    let check: @Sendable (SourceFile) -> [Violation]

    init(
        _ description: String, refuses refused: [Example], accepts accepted: [Example] = [],
        check: @escaping @Sendable (SourceFile) -> [Violation]
    ) {
        precondition(!refused.isEmpty, "the rule '\(description)' has no example that breaks it")
        (self.description, self.refused, self.accepted, self.check) = (description, refused, accepted, check)
    }

    static let all = arrows + lengths + bannedCalls + glossary + proofs + machinePaths
}

struct Example: Sendable {
    let path: String
    let text: String

    init(_ path: String, _ text: String) { (self.path, self.text) = (path, text) }

    var file: SourceFile { SourceFile(path: path, text: text) }
}

struct Violation: CustomStringConvertible {
    let path: String
    let line: Int
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

extension SourceFile {
    func violation(line: Int, _ message: String) -> Violation { Violation(path: path, line: line, message: message) }
}
