import Foundation
package import MusterModel

/// The coordinator's answer to a commit: from now on this snapshot is restorable.
package struct Receipt: Sendable, Hashable {
    package var snapshot: SnapshotID
    package var node: NodeID
    package var database: DatabaseID
    package var lineage: LineageID
    package var sequence: UInt64
    package var manifest: ManifestHash
    package var contentRoot: ContentRoot
    /// By the coordinator's clock: what retention counts.
    package var receivedAt: Timestamp
    /// Names of the stores that durably hold everything the snapshot needs; 1 to 64.
    package var stores: [String]
    package var coordinatorEpoch: UInt64

    package init(
        manifest: Manifest, receivedAt: Timestamp, stores: [String], coordinatorEpoch: UInt64
    ) {
        let part = manifest.publicPart
        (snapshot, node, database) = (part.snapshot, part.node, part.database)
        (lineage, sequence, contentRoot) = (part.lineage, part.sequence, part.contentRoot)
        self.manifest = manifest.hash
        (self.receivedAt, self.stores, self.coordinatorEpoch) = (receivedAt, stores, coordinatorEpoch)
    }

    private static let frame = RecordFrame(magic: .receipt, domain: .receipt, object: "receipt")

    /// - Returns: the bytes to store and to send.
    package func signed(by signer: SigningKey) throws(FormatError) -> [UInt8] {
        var message = StoredReceiptBody()
        message.formatVersion = UInt32(Format.version)
        message.snapshot = Data(snapshot.bytes)
        message.node = Data(node.bytes)
        message.database = Data(database.bytes)
        message.lineage = Data(lineage.bytes)
        message.sequence = sequence
        message.manifestHash = Data(manifest.bytes)
        message.contentRoot = Data(contentRoot.bytes)
        message.receivedAt = receivedAt.microseconds
        message.stores = stores
        message.coordinatorEpoch = coordinatorEpoch
        message.coordinatorKeyID = Data(signer.verifyingKey.id.bytes)
        let bytes = try Self.frame.bytes(
            of: try StoredMessage.encode(message, object: Self.frame.object), signedBy: signer)
        // What no reader would take must not be written.
        _ = try Self.parse(bytes).verified(by: signer.verifyingKey)
        return bytes
    }

    package static func parse(_ bytes: [UInt8]) throws(FormatError) -> Unverified<Receipt> {
        let (body, envelope) = try frame.open(bytes)
        let message = try StoredMessage.decode(
            body, as: StoredReceiptBody.self, fieldLimit: 128, object: frame.object)
        let parser = FieldParser(object: frame.object)
        return Unverified(
            claimed: try Receipt(message, parser),
            signingKeyID: try parser.digest(message.coordinatorKeyID, "coordinator_key_id"), envelope: envelope)
    }

    private init(_ message: StoredReceiptBody, _ parser: FieldParser) throws(FormatError) {
        try parser.version(message.formatVersion)
        snapshot = try parser.identifier(message.snapshot, "snapshot")
        node = try parser.identifier(message.node, "node")
        database = try parser.identifier(message.database, "database")
        lineage = try parser.identifier(message.lineage, "lineage")
        sequence = message.sequence
        manifest = try parser.digest(message.manifestHash, "manifest_hash")
        contentRoot = try parser.digest(message.contentRoot, "content_root")
        receivedAt = Timestamp(microseconds: message.receivedAt)
        try parser.check((1...64).contains(message.stores.count), "\(message.stores.count) stores")
        try parser.check(Set(message.stores).count == message.stores.count, "a store is named twice")
        for name in message.stores { _ = try parser.text(name, "store name", byteCount: 1...255) }
        stores = message.stores
        coordinatorEpoch = message.coordinatorEpoch
    }
}
