import Foundation
import MusterModel

extension ManifestPublicPart {
    /// - Parameter sealedPlainByteCount: of the sealed part, which a reader must know before it opens it.
    func encoded(
        sealedPlainByteCount: Int, signingKey: SigningKeyID, object: String
    ) throws(FormatError) -> [UInt8] {
        var message = StoredManifestPublic()
        message.formatVersion = UInt32(Format.version)
        message.snapshot = Data(snapshot.bytes)
        message.node = Data(node.bytes)
        message.database = Data(database.bytes)
        message.databaseName = databaseName
        message.lineage = Data(lineage.bytes)
        message.sequence = sequence
        if let parent { message.parent = parent.message }
        if let base { message.base = base.message }
        if let forkedFrom { message.forkedFrom = forkedFrom.message }
        message.scope = Data(scope.bytes)
        message.keyEpoch = keyEpoch
        message.capturedBegin = capturedBegin.microseconds
        message.capturedEnd = capturedEnd.microseconds
        message.pageSize = UInt32(geometry.pageSize)
        message.pagesPerExtent = UInt32(geometry.pagesPerExtent)
        message.pageCount = geometry.pageCount
        message.contentRoot = Data(contentRoot.bytes)
        message.packsAdded = packs.added.encoded
        message.packsDropped = packs.dropped.encoded
        message.packsAddedSinceParent = packsSinceParent.added.encoded
        message.packsDroppedSinceParent = packsSinceParent.dropped.encoded
        message.labels = labels
        message.captureMethod = captureMethod.message
        message.continuity = continuity.message
        message.logicalBytes = geometry.sizeBytes
        message.sealedBytesAdded = sealedBytesAdded
        message.storedBytes = storedBytes
        message.signingKeyID = Data(signingKey.bytes)
        message.sealedPlainLength = UInt32(sealedPlainByteCount)
        return try StoredMessage.encode(message, object: object)
    }

    init(_ message: StoredManifestPublic, _ parser: FieldParser) throws(FormatError) {
        try parser.version(message.formatVersion)
        snapshot = try parser.identifier(message.snapshot, "snapshot")
        node = try parser.identifier(message.node, "node")
        database = try parser.identifier(message.database, "database")
        databaseName = try parser.text(message.databaseName, "database_name", byteCount: 1...255)
        lineage = try parser.identifier(message.lineage, "lineage")
        sequence = message.sequence
        parent = message.hasParent ? try ManifestReference(message.parent, parser) : nil
        base = message.hasBase ? try ManifestReference(message.base, parser) : nil
        forkedFrom = message.hasForkedFrom ? try ForkPoint(message.forkedFrom, parser) : nil
        scope = try parser.identifier(message.scope, "scope")
        keyEpoch = message.keyEpoch
        capturedBegin = try parser.time(message.capturedBegin, "captured_begin")
        capturedEnd = try parser.time(message.capturedEnd, "captured_end")
        geometry = try Self.geometry(message, parser)
        contentRoot = try parser.digest(message.contentRoot, "content_root")
        packs = PackChanges(
            added: Set(try parser.ascendingDigests(message.packsAdded, "packs_added")),
            dropped: Set(try parser.ascendingDigests(message.packsDropped, "packs_dropped")))
        packsSinceParent = PackChanges(
            added: Set(try parser.ascendingDigests(message.packsAddedSinceParent, "packs_added_since_parent")),
            dropped: Set(try parser.ascendingDigests(message.packsDroppedSinceParent, "packs_dropped_since_parent")))
        labels = message.labels
        captureMethod = try CaptureMethod(message.captureMethod, parser)
        continuity = try Continuity(message.continuity, parser)
        sealedBytesAdded = try parser.byteCount(message.sealedBytesAdded, "sealed_bytes_added")
        storedBytes = try parser.byteCount(message.storedBytes, "stored_bytes")
        try checkHistory(parser)
        try checkPacks(parser)
        try checkLabels(parser)
    }

    private static func geometry(
        _ message: StoredManifestPublic, _ parser: FieldParser
    ) throws(FormatError) -> DatabaseGeometry {
        guard
            let geometry = DatabaseGeometry(
                pageSize: Int(message.pageSize), pagesPerExtent: Int(message.pagesPerExtent),
                pageCount: message.pageCount)
        else { throw .malformed(parser.object, "page_size, pages_per_extent and page_count make no database") }
        try parser.check(message.logicalBytes == geometry.sizeBytes, "logical_bytes is not page_size x page_count")
        return geometry
    }

    private func checkHistory(_ parser: FieldParser) throws(FormatError) {
        try parser.check((parent == nil) == (sequence == 0), "a parent is for every sequence but 0")
        try parser.check(base == nil || sequence > 0, "sequence 0 has a base")
        try parser.check(parent?.snapshot != snapshot && base?.snapshot != snapshot, "it follows itself")
        try parser.check(forkedFrom == nil || sequence == 0, "a fork is where a lineage begins")
        try parser.check(forkedFrom?.lineage != lineage, "it forks from its own lineage")
    }

    private func checkPacks(_ parser: FieldParser) throws(FormatError) {
        for changes in [packs, packsSinceParent] {
            try parser.check(changes.added.isDisjoint(with: changes.dropped), "a pack is both added and dropped")
        }
        try parser.check(!isFull || packs.dropped.isEmpty, "a full manifest drops packs")
        try parser.check(!isFull || geometry.pageCount == 0 || !packs.added.isEmpty, "pages without a pack")
        try parser.check(
            !isFull
                || packsSinceParent.added.isSubset(of: packs.added)
                    && packsSinceParent.dropped.isDisjoint(with: packs.added),
            "its changes since the parent do not end at its packs")
        try parser.check(sequence > 0 || packs == packsSinceParent, "at sequence 0 both pack lists are the same")
    }

    private func checkLabels(_ parser: FieldParser) throws(FormatError) {
        try parser.check(labels.count <= 64, "\(labels.count) labels")
        for (key, value) in labels {
            _ = try parser.text(key, "a label's key", byteCount: 1...64)
            _ = try parser.text(value, "a label's value", byteCount: 0...256)
        }
    }
}

extension ManifestReference {
    fileprivate init(_ message: StoredManifestReference, _ parser: FieldParser) throws(FormatError) {
        snapshot = try parser.identifier(message.snapshot, "a reference's snapshot")
        manifest = try parser.digest(message.manifestHash, "a reference's manifest_hash")
    }

    fileprivate var message: StoredManifestReference {
        var message = StoredManifestReference()
        message.snapshot = Data(snapshot.bytes)
        message.manifestHash = Data(manifest.bytes)
        return message
    }
}

extension ForkPoint {
    fileprivate init(_ message: StoredForkPoint, _ parser: FieldParser) throws(FormatError) {
        lineage = try parser.identifier(message.lineage, "forked_from's lineage")
        head = ManifestReference(
            snapshot: try parser.identifier(message.snapshot, "forked_from's snapshot"),
            manifest: try parser.digest(message.manifestHash, "forked_from's manifest_hash"))
    }

    fileprivate var message: StoredForkPoint {
        var message = StoredForkPoint()
        message.lineage = Data(lineage.bytes)
        message.snapshot = Data(head.snapshot.bytes)
        message.manifestHash = Data(head.manifest.bytes)
        return message
    }
}

extension Set<PackID> {
    /// Back to back, ascending.
    fileprivate var encoded: Data { Data(sorted().flatMap(\.bytes)) }
}

extension CaptureMethod {
    fileprivate init(_ message: StoredCaptureMethod, _ parser: FieldParser) throws(FormatError) {
        switch message {
        case .pinned: self = .pinned
        case .followed: self = .followed
        case .closed: self = .closed
        case .unspecified, .UNRECOGNIZED: throw .malformed(parser.object, "unknown capture_method")
        }
    }

    fileprivate var message: StoredCaptureMethod {
        switch self {
        case .pinned: .pinned
        case .followed: .followed
        case .closed: .closed
        }
    }
}

extension Continuity {
    fileprivate init(_ message: StoredContinuity, _ parser: FieldParser) throws(FormatError) {
        switch message {
        case .proven: self = .proven
        case .scanned: self = .scanned
        case .regressed: self = .regressed
        case .unspecified, .UNRECOGNIZED: throw .malformed(parser.object, "unknown continuity")
        }
    }

    fileprivate var message: StoredContinuity {
        switch self {
        case .proven: .proven
        case .scanned: .scanned
        case .regressed: .regressed
        }
    }
}
