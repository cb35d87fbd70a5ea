/// Puts a head together from the lines that libcurl delivers one by one.
struct HeadCollector {
    /// Set once, when the last line of the final head was there; interim (1xx) heads are dropped.
    private(set) var head: HTTPHead?
    private var status = 0
    private var headers: [String: String] = [:]
    private var byteCount = 0
    private let maximumBytes: Int

    init(maximumBytes: Int) { self.maximumBytes = maximumBytes }

    /// - Returns: false if the lines of this answer, trailers too, are more than is allowed.
    mutating func add(_ line: String) -> Bool {
        byteCount += line.utf8.count
        guard byteCount <= maximumBytes else { return false }
        guard head == nil else { return true }
        let text = line.trimmed
        if text.hasPrefix("HTTP/") {
            headers = [:]
            status = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        } else if text.isEmpty {
            if status >= 200 { head = HTTPHead(status: status, headers: headers) }
        } else if let colon = text.firstIndex(of: ":") {
            let name = text[..<colon].lowercased()
            let value = text[text.index(after: colon)...].trimmed
            headers[name] = headers[name].map { "\($0), \(value)" } ?? value
        }
        return true
    }
}

extension StringProtocol {
    /// Without spaces, tabs and line ends on both sides. (A line end of CR and LF is one `Character`.)
    fileprivate var trimmed: String {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0.isNewline }
        return String(drop(while: isBlank).reversed().drop(while: isBlank).reversed())
    }
}
