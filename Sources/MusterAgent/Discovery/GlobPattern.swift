/// A pattern for absolute paths: `*` and `?` within one name, `[a-z]` and `[!a-z]`, `**` for any number of folders.
///
/// `*` matches names that begin with a dot too: a hidden database is one. A
/// backslash takes the next character as it is. A value: it looks at no file.
package struct GlobPattern: Equatable, Sendable, CustomStringConvertible {
    /// Components after which the rest of a path may still come: one bit each, the last for "all are matched".
    struct Places: Equatable, Sendable {
        fileprivate var bits: UInt64
        var isEmpty: Bool { bits == 0 }
    }

    /// As it was written.
    package let description: String
    private let components: [GlobComponent]
    /// The folder that all matches are under, without a wildcard; "/" or without a slash at the end.
    package let fixedFolder: String
    private let fixedCount: Int

    /// - Throws: `GlobError`, which says what is wrong with the text.
    package init(_ text: String) throws(GlobError) {
        guard text.hasPrefix("/") else { throw GlobError(text, "it is not an absolute path") }
        let names = text.split(separator: "/").map(String.init)
        guard let last = names.last else { throw GlobError(text, "it names no file") }
        guard !names.contains("."), !names.contains("..") else { throw GlobError(text, "it holds '.' or '..'") }
        guard last != "**" else { throw GlobError(text, "it ends in '**'; say which files, as in '**/*.db'") }
        guard names.count < 63 else { throw GlobError(text, "it has too many folders") }
        var components: [GlobComponent] = []
        for name in names { components.append(try GlobComponent(name, of: text)) }
        self.components = components
        description = text
        let fixed = components.dropLast().prefix { $0.literal != nil }
        fixedCount = fixed.count
        fixedFolder = "/" + fixed.compactMap(\.literal).joined(separator: "/")
    }

    /// Exactly this path, whatever characters it holds.
    package init(path: String) throws(GlobError) {
        try self.init(path.map { "*?[\\".contains($0) ? "\\\($0)" : String($0) }.joined())
    }

    package func matches(_ path: String) -> Bool {
        var places = start
        for name in path.split(separator: "/") where !places.isEmpty { places = step(places, over: name) }
        return isMatch(places)
    }

    // MARK: - Step by step, for who walks through folders

    /// Where a walk that begins in `fixedFolder` stands.
    var beginning: Places { closure(Places(bits: 1 << UInt64(fixedCount))) }
    private var start: Places { closure(Places(bits: 1)) }

    /// Where it stands in (or at) the entry `name` of the folder.
    func step(_ places: Places, over name: some StringProtocol) -> Places {
        var next = Places(bits: 0)
        for (index, component) in components.enumerated() where places.bits & 1 << UInt64(index) != 0 {
            if component.isAnyDepth {
                next.bits |= 1 << UInt64(index)
            } else if component.matches(name) {
                next.bits |= 1 << UInt64(index + 1)
            }
        }
        return closure(next)
    }

    /// True if the path so far matches as a whole.
    func isMatch(_ places: Places) -> Bool { places.bits & 1 << UInt64(components.count) != 0 }

    /// True if something below the path so far may match.
    func mayMatchBelow(_ places: Places) -> Bool { places.bits & (1 << UInt64(components.count) - 1) != 0 }

    /// `**` may also stand for no folder at all.
    private func closure(_ places: Places) -> Places {
        var places = places
        for (index, component) in components.enumerated()
        where component.isAnyDepth && places.bits & 1 << UInt64(index) != 0 {
            places.bits |= 1 << UInt64(index + 1)
        }
        return places
    }

    package static func == (a: Self, b: Self) -> Bool { a.description.utf8.elementsEqual(b.description.utf8) }
}

/// What is wrong with a pattern.
package struct GlobError: Error, Equatable {
    package let reason: String

    init(_ text: String, _ reason: String) { self.reason = "'\(text)' is no pattern for files: \(reason)" }
}

/// A pattern for one name.
struct GlobComponent: Sendable {
    private enum Token {
        case one(Unicode.Scalar)
        case anyOne
        case anyNumber
        case set(isNegated: Bool, [ClosedRange<Unicode.Scalar>])
    }

    private let tokens: [Token]
    /// `**`: any number of folders.
    let isAnyDepth: Bool
    /// The only name that it matches, if there is only one.
    let literal: String?

    /// - Parameter pattern: what it is part of, for the error.
    init(_ text: String, of pattern: String) throws(GlobError) {
        isAnyDepth = text == "**"
        var tokens: [Token] = []
        var rest = Substring(text).unicodeScalars
        while let scalar = rest.popFirst() {
            switch scalar {
            case "*" where rest.first == "*" && !isAnyDepth:
                throw GlobError(pattern, "'**' must stand alone between two slashes")
            case "*": tokens.append(.anyNumber)
            case "?": tokens.append(.anyOne)
            case "[": tokens.append(try Self.set(&rest, of: pattern))
            case "\\":
                guard let escaped = rest.popFirst() else { throw GlobError(pattern, "it ends in a backslash") }
                tokens.append(.one(escaped))
            default: tokens.append(.one(scalar))
            }
        }
        self.tokens = tokens
        var literal: String? = ""
        for token in tokens {
            if case .one(let scalar) = token { literal?.unicodeScalars.append(scalar) } else { literal = nil }
        }
        self.literal = literal
    }

    private static func set(_ rest: inout Substring.UnicodeScalarView, of pattern: String) throws(GlobError) -> Token {
        let isNegated = rest.first == "!" || rest.first == "^"
        if isNegated { rest.removeFirst() }
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        while var low = rest.popFirst() {
            // A bracket that comes first is one of the set.
            if low == "]", !ranges.isEmpty { return .set(isNegated: isNegated, ranges) }
            if low == "\\", let escaped = rest.popFirst() { low = escaped }
            guard rest.first == "-", let high = rest.dropFirst().first, high != "]" else {
                ranges.append(low...low)
                continue
            }
            guard low <= high else { throw GlobError(pattern, "'\(low)-\(high)' runs backwards") }
            rest.removeFirst(2)
            ranges.append(low...high)
        }
        throw GlobError(pattern, "a '[' is not closed")
    }

    func matches(_ name: some StringProtocol) -> Bool {
        // Byte by byte: to the file system, two ways to write one accented letter are two names.
        if let literal { return literal.utf8.elementsEqual(name.utf8) }
        let scalars = Array(name.unicodeScalars)
        var (token, position) = (0, 0)
        // Where to go on when what follows the newest '*' does not fit: one character further.
        var retry: (token: Int, position: Int)?
        while position < scalars.count {
            if token < tokens.count, case .anyNumber = tokens[token] {
                retry = (token, position)
                token += 1
            } else if token < tokens.count, Self.fits(tokens[token], scalars[position]) {
                token += 1
                position += 1
            } else if let last = retry {
                retry = (last.token, last.position + 1)
                (token, position) = (last.token + 1, last.position + 1)
            } else {
                return false
            }
        }
        return tokens[token...].allSatisfy { if case .anyNumber = $0 { true } else { false } }
    }

    private static func fits(_ token: Token, _ scalar: Unicode.Scalar) -> Bool {
        switch token {
        case .one(let wanted): wanted == scalar
        case .anyOne: true
        case .anyNumber: false
        case .set(let isNegated, let ranges): ranges.contains { $0.contains(scalar) } != isNegated
        }
    }
}
