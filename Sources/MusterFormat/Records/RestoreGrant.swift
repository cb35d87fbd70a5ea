import Foundation
package import MusterModel

/// An order to one node to restore one snapshot to one path, and where another node sealed it, what opens it.
///
/// The terms are for everybody on the way to hold the order to; what is sealed opens under these very terms only, for
/// the target alone, and proves that the holder of a recovery key gave them.
package struct RestoreGrant: Sendable, Hashable {
    package struct Terms: Sendable, Hashable {
        package var id: GrantID
        package var sourceNode: NodeID
        /// It must have signed the snapshot's manifests.
        package var sourceKey: VerifyingKey
        package var scope: ScopeID
        package var keyEpoch: UInt32
        package var snapshot: SnapshotID
        /// What the restored pages must hash to.
        package var contentRoot: ContentRoot
        package var targetNode: NodeID
        package var targetPath: String
        package var issuedAt: Timestamp
        package var expiresAt: Timestamp

        package init(
            id: GrantID, sourceNode: NodeID, sourceKey: VerifyingKey, scope: ScopeID, keyEpoch: UInt32,
            snapshot: SnapshotID, contentRoot: ContentRoot, targetNode: NodeID, targetPath: String, issuedAt: Timestamp,
            expiresAt: Timestamp
        ) {
            (self.id, self.sourceNode, self.sourceKey) = (id, sourceNode, sourceKey)
            (self.scope, self.keyEpoch, self.snapshot) = (scope, keyEpoch, snapshot)
            (self.contentRoot, self.targetNode, self.targetPath) = (contentRoot, targetNode, targetPath)
            (self.issuedAt, self.expiresAt) = (issuedAt, expiresAt)
        }
    }

    /// Who sealed the secret, and to whom.
    package struct Seal: Sendable, Hashable {
        package let recipient: GrantPublicKey
        package let sealer: RecoveryPublicKey
        let sealed: [UInt8]
    }

    package static let maximumBytes = 16 << 10
    /// The longest time that a grant may stand.
    package static let longestLife = Duration.seconds(24 * 3600)
    private static let object = "restore grant"

    package let terms: Terms
    /// nil where the node restores its own snapshot, with its own key.
    package let seal: Seal?
    /// As it travels.
    package let bytes: [UInt8]
    private let termsBytes: [UInt8]

    /// An order to a node to restore its own snapshot.
    package init(_ terms: Terms) throws(FormatError) { self = try Self.parse(try Self.frame(terms, nil).bytes) }

    /// An order with what opens another node's snapshot.
    package init(
        _ terms: Terms, secret: ScopeSecret, to recipient: GrantPublicKey, by sealer: RecoveryKey, random: RandomSource
    ) throws(FormatError) {
        let termsBytes = try Self.frame(terms, (recipient, sealer.publicKey)).terms
        let sealed = try recipient.seal(secret, by: sealer, purpose: Self.purpose(termsBytes), random: random)
        // What no reader would take must not be sent.
        self = try Self.parse(Self.framed(termsBytes, sealed))
    }

    package static func parse(_ bytes: [UInt8]) throws(FormatError) -> RestoreGrant {
        guard bytes.count <= maximumBytes else {
            throw FormatError(
                object, .tooLarge(what: "bytes", count: UInt64(bytes.count), limit: UInt64(maximumBytes)))
        }
        var reader = ByteReader(bytes, object: object)
        try reader.takeMagic(.restoreGrant)
        let (terms, sealed) = (Array(try reader.takeBlock("terms")), Array(try reader.takeBlock("sealed secret")))
        try reader.expectEnd()
        return try RestoreGrant(bytes, terms, sealed)
    }

    /// - Throws: `FormatError`, `sealBroken`, unless it was sealed under these terms to `key`.
    package func openSecret(with key: GrantKey) throws(FormatError) -> ScopeSecret {
        let object = "restore grant \(terms.id)"
        guard let seal, seal.recipient == key.publicKey else { throw FormatError(object, .sealBroken) }
        let bytes = try key.open(
            seal.sealed, from: seal.sealer, purpose: Self.purpose(termsBytes), object: object)
        guard let secret = ScopeSecret(bytes: bytes) else { throw .malformed(object, "its secret is not 32 bytes") }
        return secret
    }

    // MARK: - Bytes

    private init(_ bytes: [UInt8], _ termsBytes: [UInt8], _ sealed: [UInt8]) throws(FormatError) {
        let message = try StoredMessage.decode(
            termsBytes, as: StoredRestoreGrantTerms.self, fieldLimit: 64, object: Self.object)
        let parser = FieldParser(object: Self.object)
        terms = try Terms(message, parser)
        (self.bytes, self.termsBytes) = (bytes, termsBytes)
        if sealed.isEmpty {
            try parser.check(
                message.recipient.isEmpty && message.sealer.isEmpty, "it names who sealed it, and nothing is sealed")
            try parser.check(terms.sourceNode == terms.targetNode, "another node's snapshot without its secret")
            seal = nil
        } else {
            guard let recipient = GrantPublicKey(bytes: message.recipient),
                let sealer = RecoveryPublicKey(bytes: message.sealer)
            else { throw .malformed(Self.object, "recipient or sealer is not 32 bytes") }
            try parser.check(sealed.count == GrantPublicKey.sealedBytes, "a sealed secret of \(sealed.count) bytes")
            seal = Seal(recipient: recipient, sealer: sealer, sealed: sealed)
        }
    }

    private static func frame(
        _ terms: Terms, _ keys: (recipient: GrantPublicKey, sealer: RecoveryPublicKey)?
    ) throws(FormatError) -> (terms: [UInt8], bytes: [UInt8]) {
        var message = StoredRestoreGrantTerms()
        message.formatVersion = UInt32(Format.version)
        message.grant = Data(terms.id.bytes)
        message.sourceNode = Data(terms.sourceNode.bytes)
        message.sourceKey = Data(terms.sourceKey.bytes)
        message.scope = Data(terms.scope.bytes)
        message.keyEpoch = terms.keyEpoch
        message.snapshot = Data(terms.snapshot.bytes)
        message.contentRoot = Data(terms.contentRoot.bytes)
        message.targetNode = Data(terms.targetNode.bytes)
        message.targetPath = terms.targetPath
        (message.issuedAt, message.expiresAt) = (terms.issuedAt.microseconds, terms.expiresAt.microseconds)
        if let keys {
            (message.recipient, message.sealer) = (Data(keys.recipient.bytes), Data(keys.sealer.bytes))
        }
        let encoded = try StoredMessage.encode(message, object: object)
        return (encoded, framed(encoded, []))
    }

    private static func framed(_ terms: [UInt8], _ sealed: [UInt8]) -> [UInt8] {
        Magic.restoreGrant.bytes + littleEndianBytes(UInt32(terms.count)) + terms
            + littleEndianBytes(UInt32(sealed.count)) + sealed
    }

    /// Binds the seal to the terms: under others it does not open.
    private static func purpose(_ terms: [UInt8]) -> [UInt8] {
        Array("muster/1/restore-grant".utf8) + [0] + SHA256Hasher.hash(terms, as: Digest<TermsKind>.self).bytes
    }

    private enum TermsKind {}
}

extension RestoreGrant.Terms {
    fileprivate init(_ message: StoredRestoreGrantTerms, _ parser: FieldParser) throws(FormatError) {
        try parser.version(message.formatVersion)
        self.init(
            id: try parser.identifier(message.grant, "grant"),
            sourceNode: try parser.identifier(message.sourceNode, "source_node"),
            sourceKey: try SealedSecret.signingKey(message.sourceKey, parser),
            scope: try parser.identifier(message.scope, "scope"), keyEpoch: message.keyEpoch,
            snapshot: try parser.identifier(message.snapshot, "snapshot"),
            contentRoot: try parser.digest(message.contentRoot, "content_root"),
            targetNode: try parser.identifier(message.targetNode, "target_node"),
            targetPath: try parser.text(message.targetPath, "target_path", byteCount: 2...4096),
            issuedAt: try parser.time(message.issuedAt, "issued_at"),
            expiresAt: try parser.time(message.expiresAt, "expires_at"))
        try parser.check(targetPath.hasPrefix("/") && !targetPath.contains("\0"), "target_path is not absolute")
        let life = expiresAt - issuedAt
        try parser.check(life > .zero && life <= RestoreGrant.longestLife, "it stands for \(life.inSeconds) seconds")
    }
}
