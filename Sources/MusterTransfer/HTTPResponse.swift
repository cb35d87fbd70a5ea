package import MusterModel

/// The start of an answer: everything but the body.
package struct HTTPHead: Hashable, Sendable {
    package let status: Int
    /// Names in lower case; repeated ones are joined by a comma (RFC 9110, section 5.3).
    package let headers: [String: String]

    package init(status: Int, headers: [String: String]) { (self.status, self.headers) = (status, headers) }

    /// The server's own time, in whole seconds (RFC 9110, section 5.6.7); nil in any form but the fixed one.
    package var date: Timestamp? {
        let words = (headers["date"] ?? "").split(separator: " ")
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard words.count == 6, words[5] == "GMT", let month = months.firstIndex(of: String(words[2])) else {
            return nil
        }
        return Timestamp("\(words[3])-\(month < 9 ? "0" : "")\(month + 1)-\(words[1])T\(words[4])Z")
    }

    package var isSuccess: Bool { (200...299).contains(status) }

    /// What `Retry-After` asks for, where it is given in seconds; the form with a date is not read.
    package var retryAfter: Duration? {
        guard let text = headers["retry-after"], let seconds = UInt32(text) else { return nil }
        return .seconds(Int64(seconds))
    }
}

/// A whole answer.
package struct HTTPResponse: Hashable, Sendable {
    package let head: HTTPHead
    package let body: [UInt8]

    package init(head: HTTPHead, body: [UInt8]) { (self.head, self.body) = (head, body) }

    package var status: Int { head.status }
    package var headers: [String: String] { head.headers }
}
