import MusterModel

/// The few things that answers of S3 hold, read from their XML: elements by name, text with the five entities.
///
/// No general parser: attributes are skipped, and what is not well-formed gives nothing.
struct XMLText {
    private let text: Substring

    init(_ bytes: [UInt8]) { text = Substring(String(decoding: bytes, as: UTF8.self)) }

    private init(_ text: Substring) { self.text = text }

    /// What stands in each element of that name, in order. An element does not hold another one of its own name.
    func all(_ name: String) -> [XMLText] {
        var found: [XMLText] = []
        var rest = text
        while let start = Self.tag(name, in: rest) {
            if start.isEmpty {
                found.append(XMLText(""))
                rest = rest[start.end...]
                continue
            }
            guard let end = rest[start.end...].firstRange(of: "</\(name)>") else { return [] }
            found.append(XMLText(rest[start.end..<end.lowerBound]))
            rest = rest[end.upperBound...]
        }
        return found
    }

    func first(_ name: String) -> XMLText? { all(name).first }

    /// The text inside; nil where it holds an element or an entity that is not known.
    var string: String? {
        guard !text.contains("<") else { return nil }
        var result = ""
        var rest = text
        while let mark = rest.firstIndex(of: "&") {
            result += rest[..<mark]
            guard let end = rest[mark...].firstIndex(of: ";"),
                let character = Self.character(rest[rest.index(after: mark)..<end])
            else { return nil }
            result.unicodeScalars.append(character)
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }

    private static func character(_ entity: Substring) -> Unicode.Scalar? {
        switch entity {
        case "amp": "&"
        case "lt": "<"
        case "gt": ">"
        case "quot": "\""
        case "apos": "'"
        default:
            if entity.hasPrefix("#x") {
                UInt32(entity.dropFirst(2), radix: 16).flatMap(Unicode.Scalar.init)
            } else if entity.hasPrefix("#") {
                UInt32(entity.dropFirst()).flatMap(Unicode.Scalar.init)
            } else {
                nil
            }
        }
    }

    /// - Returns: where the element's text begins, and whether it has none.
    private static func tag(_ name: String, in text: Substring) -> (end: Substring.Index, isEmpty: Bool)? {
        var rest = text
        while let start = rest.firstRange(of: "<\(name)") {
            rest = rest[start.upperBound...]
            guard let next = rest.first else { return nil }
            // Another name may begin like this one.
            guard next == ">" || next == "/" || next.isWhitespace else { continue }
            guard let close = rest.firstIndex(of: ">") else { return nil }
            return (rest.index(after: close), rest[..<close].hasSuffix("/"))
        }
        return nil
    }
}

extension String {
    /// - Returns: the text with every `%XX` undone and every `+` a space, as `encoding-type=url` has it; nil where it is
    ///   not well-formed.
    var formDecoded: String? {
        var bytes: [UInt8] = []
        var rest = Substring(self).utf8
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let value = Hex.decode(Substring(rest.prefix(2)).lowercased()), value.count == 1 else {
                    return nil
                }
                rest = rest.dropFirst(2)
                bytes += value
            case UInt8(ascii: "+"): bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
