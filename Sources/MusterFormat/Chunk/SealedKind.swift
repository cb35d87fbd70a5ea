/// What is inside a seal; the high half of its type byte.
package enum SealedKind: UInt8, Sendable, CaseIterable, CustomStringConvertible {
    case extent = 1
    case scatter = 2
    case difference = 3
    case map = 4
    /// The part of a manifest that only the scope's keys open.
    case manifest = 5

    package var description: String {
        switch self {
        case .extent: "an extent chunk"
        case .scatter: "a scatter chunk"
        case .difference: "a difference chunk"
        case .map: "a map chunk"
        case .manifest: "a manifest's sealed part"
        }
    }

    /// The most plain bytes that one seal of this kind holds.
    var maximumPlainBytes: Int {
        self == .manifest ? Format.maximumManifestBytes : Format.maximumPlainChunkBytes
    }

    var purpose: KeyPurpose {
        switch self {
        case .extent, .scatter, .difference: .chunk
        case .map: .map
        case .manifest: .manifest
        }
    }
}

/// What a derived key is for; each has its own, so that no seal opens as another kind of object.
enum KeyPurpose: String, CaseIterable {
    case chunk, map, manifest
}

/// The first 14 bytes of everything sealed: version, type, nonce.
struct SealHeader {
    static let byteCount = 2 + AuthenticatedCipher.nonceBytes
    /// The least that a seal adds to what is inside.
    static let overheadBytes = byteCount + AuthenticatedCipher.tagBytes

    let kind: SealedKind
    let isCompressed: Bool

    var type: UInt8 { kind.rawValue << 4 | (isCompressed ? 1 : 0) }

    /// - Throws: `FormatError` for any version, kind or compression that version 1 does not have.
    static func parse(
        version: UInt8, type: UInt8, expecting kind: SealedKind, object: @autoclosure () -> String
    ) throws(FormatError) -> SealHeader {
        guard version == Format.version else { throw FormatError(object(), .unknownVersion(UInt64(version))) }
        guard let found = SealedKind(rawValue: type >> 4), type & 15 <= 1 else {
            throw .malformed(object(), "seal type \(type)")
        }
        guard found == kind else {
            throw FormatError(object(), .wrongKind(expected: kind.description, found: found.description))
        }
        return SealHeader(kind: kind, isCompressed: type & 15 == 1)
    }
}
