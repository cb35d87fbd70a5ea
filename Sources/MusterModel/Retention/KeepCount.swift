/// How many slots a rule has.
package enum KeepCount: Hashable, Sendable, CustomStringConvertible {
    /// 0 switches the rule off.
    case atMost(Int)
    case unlimited

    /// Parses a whole number from 0 up, `-1` or `unlimited`.
    package init(parsing text: String) throws(RetentionError) {
        if text == "-1" || text == "unlimited" {
            self = .unlimited
            return
        }
        guard (1...9).contains(text.count), text.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(text)
        else {
            throw .notACount(text)
        }
        self = .atMost(number)
    }

    package var isOff: Bool { !hasRoom(after: 0) }

    /// Whether there is a slot left when `used` are used up.
    func hasRoom(after used: Int) -> Bool {
        switch self {
        case .atMost(let number): used < number
        case .unlimited: true
        }
    }

    package var description: String {
        switch self {
        case .atMost(let number): "\(number)"
        case .unlimited: "unlimited"
        }
    }
}
