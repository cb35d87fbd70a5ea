import MusterModel

/// A stored object that was refused, and why.
package struct FormatError: ActionableError, Hashable {
    package enum Reason: Hashable, Sendable {
        /// The bytes hash to another name than the one they were asked for by.
        case wrongHash(expected: String, actual: String)
        /// The seal does not open: another key, or changed bytes.
        case sealBroken
        /// The signature is not that key's over these bytes.
        case badSignature(key: String)
        case unknownVersion(UInt64)
        /// A whole object, but not of the kind that was asked for.
        case wrongKind(expected: String, found: String)
        case malformed(String)
        case tooLarge(what: String, count: UInt64, limit: UInt64)
        /// What was sealed did not open to what went in, so this machine computes wrongly.
        case selfCheckFailed
    }

    /// What was read or written, with its name where it has one: "chunk 4f…", "manifest".
    package let object: String
    package let reason: Reason

    package init(_ object: String, _ reason: Reason) { (self.object, self.reason) = (object, reason) }

    static func malformed(_ object: String, _ what: String) -> Self { Self(object, .malformed(what)) }

    package var summary: String {
        switch reason {
        case .wrongHash(let expected, let actual):
            "\(object) is damaged: its bytes hash to \(actual), not to \(expected)"
        case .sealBroken: "\(object) does not open with this key"
        case .badSignature(let key): "\(object) is not signed by key \(key)"
        case .unknownVersion(let version): "\(object) has format version \(version)"
        case .wrongKind(let expected, let found): "\(object) is \(found) where \(expected) is wanted"
        case .malformed(let what): "\(object) is malformed: \(what)"
        case .tooLarge(let what, let count, let limit): "\(object) is too large: \(count) \(what), at most \(limit)"
        case .selfCheckFailed: "\(object) did not open to what was sealed"
        }
    }

    package var hint: String {
        switch reason {
        case .wrongHash, .malformed, .wrongKind, .tooLarge:
            "Run 'muster verify' on the snapshot to see what is hit, and read this object from another store."
        case .sealBroken:
            "Check that the key belongs to the node that made the snapshot; if it does, read another store's copy."
        case .badSignature:
            "Do not use this object: check which key the node or coordinator has, and read another store's copy."
        case .unknownVersion:
            "Use a muster at least as new as the one that wrote it."
        case .selfCheckFailed:
            "Nothing was sent: check this machine's memory and processor before trusting its backups."
        }
    }

    package var isTransient: Bool { false }
}
