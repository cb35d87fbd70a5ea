import MusterModel
import MusterSQLite

/// What tells one source file from another, and from itself at another time.
package enum SourceIdentity {
    /// - Throws: `CaptureError` where the file cannot be looked at.
    package static func fingerprint(of path: String) throws -> String {
        try SourceFingerprint.read(path: path).description
    }

    /// - Throws: `SourceReplaced` if the file is not the one of `identity`, which may be "" for "not known".
    package static func check(_ path: String, is identity: String) throws {
        guard !identity.isEmpty else { return }
        let now = try SourceFingerprint.read(path: path)
        let file = "\(now.device):\(now.inode):"
        guard identity.hasPrefix(file) else { throw SourceReplaced(before: identity, now: file) }
    }

    /// Bytes of the file; 0 where it cannot be looked at.
    package static func byteCount(of path: String) -> UInt64 {
        // Only a weight for the turnstile: the capture itself reports what is wrong.
        (try? SourceFingerprint.read(path: path))?.sizeBytes ?? 0
    }

    static func text(_ fingerprint: SourceFingerprint, pageSize: Int) -> String {
        "\(fingerprint.device):\(fingerprint.inode):\(pageSize)"
    }

    /// A fingerprint that a later equal one proves "unchanged" by; "" where a write in the same tick of
    /// the file system's clock could hide behind it.
    static func provingText(_ fingerprint: SourceFingerprint, at now: Timestamp) -> String {
        fingerprint.isSettled(at: now) ? fingerprint.description : ""
    }
}
