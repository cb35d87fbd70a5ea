import Foundation
import Hummingbird
import MusterModel

/// One attribute of an element. Only these names exist, so none of them can run a program, and what is an address is
/// made from a `PagePath`.
struct Attribute: Sendable {
    enum Name: String, Sendable {
        case action, `class`, content, colspan, datetime, disabled, enctype, `for`, href, id, lang, max, method, media,
            name, rel, role, scope, selected, sizes, tabindex, title, type, value, charset, autocomplete, placeholder
        case accessKey = "accesskey"
        case dataCode = "data-code"
        case dataState = "data-state"
        case httpEquiv = "http-equiv"
        case ariaCurrent = "aria-current"
        case ariaDescribedBy = "aria-describedby"
        case ariaHidden = "aria-hidden"
        case ariaLabel = "aria-label"
        case ariaLabelledBy = "aria-labelledby"
        // Of SVG.
        case cx, cy, d, fill, height, r, rx, transform, viewBox, width, x, y, x1, x2, y1, y2, points
        case textAnchor = "text-anchor"
        case preserveAspectRatio

        /// One that is there or not, and has no value.
        var isFlag: Bool { self == .disabled || self == .selected }
    }

    let name: Name
    /// nil for an attribute that is not there.
    let value: String?

    private init(name: Name, value: String?) { (self.name, self.value) = (name, value) }

    static func `class`(_ value: String) -> Self { Self(name: .class, value: value) }
    static func id(_ value: String) -> Self { Self(name: .id, value: value) }
    static func label(_ value: String) -> Self { Self(name: .ariaLabel, value: value) }
    static func href(_ path: PagePath) -> Self { Self(name: .href, value: path.description) }
    static func action(_ path: PagePath) -> Self { Self(name: .action, value: path.description) }
    static let hidden = Self(name: .ariaHidden, value: "true")

    /// Any other one; addresses have makers of their own.
    static func of(_ name: Name, _ value: String?) -> Self {
        precondition(name != .href && name != .action, "an address is made from a PagePath")
        return Self(name: name, value: value)
    }

    static func number(_ name: Name, _ value: Double) -> Self { of(name, SVGNumber.text(value)) }
    static func flag(_ name: Name, if isSet: Bool) -> Self { of(name, isSet ? "" : nil) }
}

/// Numbers of drawings: one digit after the point is enough on a screen.
enum SVGNumber {
    static func text(_ value: Double) -> String {
        guard value.isFinite else { return "0" }
        let tenths = Int((value.magnitude * 10).rounded())
        let sign = value < 0 && tenths > 0 ? "-" : ""
        return tenths.isMultiple(of: 10) ? "\(sign)\(tenths / 10)" : "\(sign)\(tenths / 10).\(tenths % 10)"
    }
}

/// The address of a page of this dashboard: always on this server, whatever its parts hold.
struct PagePath: Hashable, Sendable, CustomStringConvertible {
    private let segments: [String]
    private let query: [String]
    private let fragment: String?
    private var isHere = false

    /// - Parameter query: what is "" or nil is left out.
    init(_ segments: String..., query: KeyValuePairs<String, String?> = [:], fragment: String? = nil) {
        self.segments = segments
        self.query = query.compactMap { name, value in
            guard let value, !value.isEmpty else { return nil }
            return Self.encoded(name) + "=" + Self.encoded(value)
        }
        self.fragment = fragment
    }

    /// Marks what a page asks by itself, with nobody there who wants it.
    static let byItself = "by-itself"

    /// The page of a request again, as it asks for itself.
    init(again call: Call) {
        segments = call.request.uri.path.split(separator: "/").map { String($0).removingPercentEncoding ?? "" }
        let wanted = call.request.uri.queryParameters.filter { $0.key != Self.byItself && !$0.value.isEmpty }
        query =
            wanted.map { Self.encoded(String($0.key)) + "=" + Self.encoded(String($0.value)) } + [Self.byItself + "=1"]
        fragment = nil
    }

    /// A place on the same page.
    static func here(_ fragment: String) -> PagePath {
        var path = PagePath(fragment: fragment)
        path.isHere = true
        return path
    }

    var description: String {
        let path = isHere ? "" : "/" + segments.map(Self.encoded).joined(separator: "/")
        let tail = query.isEmpty ? "" : "?" + query.joined(separator: "&")
        return path + tail + (fragment.map { "#" + Self.encoded($0) } ?? "")
    }

    /// RFC 3986 section 2.3: all but the unreserved characters.
    private static func encoded(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default: encoded += "%" + Hex.encode([byte]).uppercased()
            }
        }
        return encoded
    }
}
