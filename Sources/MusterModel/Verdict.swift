/// How deep an inspection went, in rising order.
package enum VerificationLevel: String, Sendable, Comparable, CaseIterable, Codable {
    /// The objects are listed with the right size.
    case check
    /// Every stored byte was read again and hashed again; needs no key.
    case scrub
    /// The database was rebuilt, its content root is equal and `integrity_check` is clean.
    case verify
    /// The same, timed, with the owner's assertions.
    case drill

    private var depth: Int {
        switch self {
        case .check: 0
        case .scrub: 1
        case .verify: 2
        case .drill: 3
        }
    }

    package static func < (a: Self, b: Self) -> Bool { a.depth < b.depth }
}

/// One object that an inspection found wanting, and whom it hits.
package struct Failing: Error, Hashable, Sendable, Codable {
    package var snapshot: String
    package var store: String
    /// The stored object's name, or "" where the snapshot as a whole failed.
    package var object: String
    package var reason: String

    package init(snapshot: String, store: String, object: String, reason: String) {
        (self.snapshot, self.store, self.object, self.reason) = (snapshot, store, object, reason)
    }
}
