/// The text of a Swift file, taken apart into code and string literals.
///
/// Both parts keep the length and the lines of the whole, with blanks in the
/// place of what is not theirs, so that a position means the same in each.
/// Code inside `\(…)` is code. Comments are in neither.
struct SwiftText {
    private(set) var code: [UInt8]
    private(set) var literals: [UInt8]
    private let text: [UInt8]
    private var position = 0

    init(_ source: String) {
        text = Array(source.utf8)
        code = text.map { $0 == .newline ? $0 : .space }
        literals = code
        while position < text.count { readCode(insideInterpolation: false) }
    }

    private mutating func readCode(insideInterpolation: Bool) {
        var depth = 0
        while position < text.count {
            if isAt("//") {
                skip { $0 != .newline }
            } else if isAt("/*") {
                skipBlockComment()
            } else if let hashes = hashesBefore("\"") {
                readString(hashes: hashes)
            } else if let hashes = hashesBefore("/"), hashes > 0 || isAtBareRegex {
                skipRegex(hashes: hashes)
            } else {
                let byte = text[position]
                if insideInterpolation, byte == UInt8(ascii: ")"), depth == 0 { return }
                if byte == UInt8(ascii: "(") { depth += 1 }
                if byte == UInt8(ascii: ")") { depth -= 1 }
                code[position] = byte
                position += 1
            }
        }
    }

    private mutating func readString(hashes: Int) {
        let pounds = String(repeating: "#", count: hashes)
        position += hashes
        let quote = isAt("\"\"\"") ? "\"\"\"" : "\""
        position += quote.utf8.count
        let (end, escape) = (quote + pounds, "\\" + pounds)
        while position < text.count, !isAt(end) {
            if isAt(escape + "(") {
                position += escape.utf8.count + 1
                readCode(insideInterpolation: true)
                position += 1
            } else if isAt(escape) {
                position += escape.utf8.count + 1
            } else {
                literals[position] = text[position]
                position += 1
            }
        }
        position += end.utf8.count
    }

    private mutating func skipBlockComment() {
        var depth = 0
        repeat {
            if isAt("/*") {
                (depth, position) = (depth + 1, position + 2)
            } else if isAt("*/") {
                (depth, position) = (depth - 1, position + 2)
            } else {
                position += 1
            }
        } while depth > 0 && position < text.count
    }

    private mutating func skipRegex(hashes: Int) {
        let end = "/" + String(repeating: "#", count: hashes)
        position += hashes + 1
        while position < text.count, !isAt(end) {
            if hashes == 0, text[position] == .newline { return }
            position += text[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        position += end.utf8.count
    }

    /// How many `#` stand here in front of `mark`; nil if something else does.
    private func hashesBefore(_ mark: Character) -> Int? {
        let hashes = text[position...].prefix { $0 == UInt8(ascii: "#") }.count
        let next = position + hashes
        return next < text.count && text[next] == mark.asciiValue ? hashes : nil
    }

    /// As the compiler decides: an opening `/` follows a bracket, comma, `=` or `return`, and no blank follows it.
    private var isAtBareRegex: Bool {
        guard position + 1 < text.count, text[position + 1] != .space, text[position + 1] != .newline else {
            return false
        }
        guard let before = code[..<position].last(where: { $0 != .space }) else { return false }
        return "(,=[{:".utf8.contains(before)
    }

    private func isAt(_ mark: String) -> Bool { text[position...].starts(with: mark.utf8) }

    private mutating func skip(while isPartOfIt: (UInt8) -> Bool) {
        while position < text.count, isPartOfIt(text[position]) { position += 1 }
    }
}

extension UInt8 {
    static let newline = UInt8(ascii: "\n")
    static let space = UInt8(ascii: " ")

    /// True for what may stand inside a Swift name.
    var isNamePart: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: self >= 0x80
        }
    }
}
