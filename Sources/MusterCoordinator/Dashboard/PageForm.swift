import Foundation
import HTTPTypes
import Hummingbird
import MusterModel

/// What a form of the dashboard sent, after it was shown to come from a page of this session.
struct PageForm {
    /// The name of the field with the session's secret for forms.
    static let token = "form_token"
    private static let mostFields = 32

    private let fields: [String: String]

    subscript(_ name: String) -> String { fields[name] ?? "" }

    /// Reads and checks a form: a page of another site can neither know the token, nor say that it is this one.
    init(_ call: Call) async throws {
        guard let session = call.session else { throw Refusal.anonymous }
        guard Self.isFromHere(call.request) else { throw Self.forged }
        let type = (call.request.headers[.contentType] ?? "").split(separator: ";").first ?? ""
        guard type == "application/x-www-form-urlencoded" else {
            throw Refusal.malformed("content type '\(type)' is no form")
        }
        fields = try Self.fields(String(decoding: try await call.body(), as: UTF8.self))
        guard Self.isEqual(self[Self.token], session.formSecret) else { throw Self.forged }
    }

    static let forged = Refusal(
        .forbidden, "forged", "this form does not come from a page of this session",
        hint: "Go back, load the page again and send the form from there.")

    /// Every browser that has `Sec-Fetch-Site` says it by that: with `Referrer-Policy: no-referrer`, `Origin` is "null"
    /// even from here (Fetch, section 3.2). An older one says `Origin`.
    static func isFromHere(_ request: Request) -> Bool {
        if let name = HTTPField.Name("Sec-Fetch-Site"), let site = request.headers[name] {
            return site == "same-origin"
        }
        guard let authority = request.head.authority else { return false }
        return request.headers[.origin] == "https://" + authority
    }

    static func fields(_ text: String) throws -> [String: String] {
        var fields: [String: String] = [:]
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let decoded = parts.map { String($0).replacing("+", with: " ").removingPercentEncoding }
            guard fields.count < mostFields, let name = decoded.first ?? nil else {
                throw Refusal.malformed("the form cannot be read")
            }
            guard let value = decoded.count == 2 ? decoded[1] : "" else {
                throw Refusal.malformed("the form cannot be read")
            }
            fields[name] = value
        }
        return fields
    }

    /// Takes as long wherever the two differ.
    private static func isEqual(_ one: String, _ other: String) -> Bool {
        let (one, other) = (Array(one.utf8), Array(other.utf8))
        guard one.count == other.count else { return false }
        return zip(one, other).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
