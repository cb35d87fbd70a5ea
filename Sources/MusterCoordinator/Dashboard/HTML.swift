/// A piece of a page.
///
/// Every text that goes in is escaped, and there is no way to put markup in but `tag` with the names that stand in this
/// program: so what nodes and people call their things can never become part of a page's structure.
struct HTML: Sendable {
    private(set) var markup = ""

    init() {}

    static func text(_ text: String) -> HTML {
        var piece = HTML()
        piece.appendEscaped(text)
        return piece
    }

    static func joined(_ pieces: [HTML]) -> HTML {
        var all = HTML()
        all.markup.reserveCapacity(pieces.reduce(0) { $0 + $1.markup.utf8.count })
        for piece in pieces { all.append(piece) }
        return all
    }

    var isEmpty: Bool { markup.isEmpty }

    mutating func append(_ piece: HTML) { markup += piece.markup }

    /// A whole document.
    func document() -> [UInt8] { Array("<!doctype html>".utf8) + Array(markup.utf8) }

    fileprivate init(tag name: String, _ attributes: [Attribute], content: HTML?) {
        markup = "<" + name
        for attribute in attributes {
            guard let value = attribute.value else { continue }
            markup += " " + attribute.name.rawValue
            guard !attribute.name.isFlag else { continue }
            markup += "=\""
            appendEscaped(value)
            markup += "\""
        }
        markup += ">"
        guard let content else { return }
        markup += content.markup
        markup += "</" + name + ">"
    }

    private mutating func appendEscaped(_ text: String) {
        guard text.utf8.contains(where: Self.isSpecial) else { return markup += text }
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": markup += "&amp;"
            case "<": markup += "&lt;"
            case ">": markup += "&gt;"
            case "\"": markup += "&quot;"
            case "'": markup += "&#39;"
            case "\t", "\n": markup.unicodeScalars.append(scalar)
            // Parsers drop or change these: they must not join what stands around them.
            case "\u{0}"..."\u{1F}", "\u{7F}": markup += "\u{FFFD}"
            default: markup.unicodeScalars.append(scalar)
            }
        }
    }

    private static func isSpecial(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "&"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "\""), UInt8(ascii: "'"): true
        default: byte < 0x20 || byte == 0x7F
        }
    }
}

/// An element with content.
///
/// - Parameter name: as it stands in this program, never what came from elsewhere.
func tag(_ name: StaticString, _ attributes: Attribute..., @HTMLBuilder content: () throws -> HTML) rethrows -> HTML {
    HTML(tag: name.description, attributes, content: try content())
}

/// The same, of attributes that were put together before.
func tag(_ name: StaticString, of attributes: [Attribute], @HTMLBuilder content: () throws -> HTML) rethrows -> HTML {
    HTML(tag: name.description, attributes, content: try content())
}

/// An element that never has content, such as `input`.
func emptyTag(_ name: StaticString, _ attributes: Attribute...) -> HTML {
    HTML(tag: name.description, attributes, content: nil)
}

/// Puts pieces and texts together; the texts are escaped.
@resultBuilder
enum HTMLBuilder {
    static func buildExpression(_ piece: HTML) -> HTML { piece }
    static func buildExpression(_ piece: HTML?) -> HTML { piece ?? HTML() }
    static func buildExpression(_ text: String) -> HTML { .text(text) }
    static func buildBlock() -> HTML { HTML() }
    static func buildPartialBlock(first: HTML) -> HTML { first }
    static func buildPartialBlock(accumulated: HTML, next: HTML) -> HTML {
        var all = accumulated
        all.append(next)
        return all
    }
    static func buildOptional(_ piece: HTML?) -> HTML { piece ?? HTML() }
    static func buildEither(first piece: HTML) -> HTML { piece }
    static func buildEither(second piece: HTML) -> HTML { piece }
    static func buildArray(_ pieces: [HTML]) -> HTML { .joined(pieces) }
}
