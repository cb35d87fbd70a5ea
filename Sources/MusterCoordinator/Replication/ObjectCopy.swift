import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Copies objects from store to store, hashed on their way: what has not the right hash never gets a name.
extension Coordinator {
    static let quarantine = Duration.seconds(7 * 86_400)
    private static let copiedPieceBytes: UInt64 = 1 << 20

    /// Why an object could not be had from any store.
    struct NoGoodCopy: ActionableError {
        let object: String
        let isTransient: Bool

        var summary: String {
            isTransient ? "no store that answers has a good copy of \(object)" : "no store has a good copy of \(object)"
        }
        var hint: String {
            "Bring the stores back that are away; else take a new snapshot of the database on its node."
        }
    }

    /// Brings a pack to a store that has no good copy of it.
    ///
    /// A source that turns out to be bad is marked, and so repaired itself.
    ///
    /// - Parameter pace: nil where somebody waits for it.
    func copy(_ pack: Catalog.PackCopies, to store: OpenStore, pace: CopyPace?) async throws {
        let old = pack.replicas.first { $0.store == store.number }
        if let old, old.state == .present { return }
        var hasAbsent = false
        for (replica, source) in stores.readable(pack.replicas) where source.number != store.number {
            guard replica.state == .present else { continue }
            guard !source.isAway else {
                hasAbsent = true
                continue
            }
            let name = try Self.name(of: replica)
            let generation = Generation(from: random)
            let newName = ObjectName.pack(pack.id, generation)
            guard
                try await copy(
                    name, of: UInt64(pack.sizeBytes), hash: pack.id, from: source, to: store, as: newName,
                    pace: pace)
            else {
                _ = try await inspect(replica, in: source, isHashed: true)
                continue
            }
            try await catalog.recordCopy(
                of: pack, in: store.number, generation: generation.description, object: newName.description,
                replacing: try old.map { (try Self.name(of: $0).description, $0.state == .damaged) },
                quarantine: Self.quarantine, now: clock.now())
            return
        }
        throw NoGoodCopy(object: "pack \(pack.id)", isTransient: hasAbsent)
    }

    private static func name(of replica: Catalog.PackReplica) throws -> ObjectName {
        guard let name = replica.objectName else { throw CatalogError.damaged(column: "generation") }
        return name
    }

    /// - Returns: false where the source has not these bytes; then nothing was written.
    private func copy<Kind>(
        _ name: ObjectName, of size: UInt64, hash: Digest<Kind>, from source: OpenStore, to target: OpenStore,
        as newName: ObjectName, pace: CopyPace?
    ) async throws -> Bool {
        let writer = try await target.store.beginPut()
        do {
            let received = ObjectHash<Kind>()
            var position: UInt64 = 0
            while position < size {
                let end = min(size, position + Self.copiedPieceBytes)
                guard let piece = try await piece(position..<end, of: name, in: source) else {
                    await writer.abort()
                    return false
                }
                async let hashed: Void = hashing.run { received.update(piece) }
                try await writer.write(piece)
                try await hashed
                await pace?.spend(piece.count)
                position = end
            }
            guard received.finish() == hash else {
                await writer.abort()
                return false
            }
            try await writer.commit(as: newName)
            return true
        } catch {
            await writer.abort()
            throw error
        }
    }

    /// - Returns: nil where the object is not there, ends too soon or cannot be read; a store that is away throws.
    private func piece(
        _ range: Range<UInt64>, of name: ObjectName, in store: OpenStore
    ) async throws -> [UInt8]? {
        do {
            return try await store.store.read(name, range: range)
        } catch {
            _ = try Self.reason(of: error)
            return nil
        }
    }

    /// A whole small object with the right hash, from the first store that has it.
    func goodManifest(of snapshot: Catalog.Snapshot) async throws -> [UInt8] {
        var hasAbsent = false
        for (replica, source) in stores.readable(snapshot.replicas) where replica.manifestState == .present {
            guard !source.isAway else {
                hasAbsent = true
                continue
            }
            guard let generation = Generation(replica.generation) else {
                throw CatalogError.damaged(column: "generation")
            }
            let name = ObjectName.manifest(SnapshotPlace(snapshot), generation)
            let bytes = try await piece(0..<UInt64(snapshot.manifestBytes), of: name, in: source)
            if let bytes, SHA256Hasher.hash(bytes) == snapshot.manifestHash { return bytes }
            try await catalog.mark(
                .manifest, of: snapshot.number, store: source.number, generation: replica.generation, as: .damaged,
                isHashed: true, now: clock.now())
        }
        throw NoGoodCopy(object: "the manifest of snapshot \(snapshot.id)", isTransient: hasAbsent)
    }

    /// Brings a node's key record to a store: without it nobody else could open what the node sealed.
    func copyKeys(of node: Catalog.Node, to store: OpenStore) async throws {
        guard let name = ObjectName(node.keyObject), let key = VerifyingKey(bytes: node.signingKey) else {
            throw CatalogError.damaged(column: "key_object")
        }
        for source in stores.all where source.number != store.number && !source.isAway {
            do {
                let bytes = try await source.store.read(name, maximumBytes: Format.maximumRecordBytes)
                _ = try KeyRecord.parse(bytes).verified(by: key)
                try await putSame(bytes, as: name, in: store)
                return try await catalog.recordKeys(of: node.id, in: [store.number])
            } catch let error as StoreError where !error.isTransient {
                // Another store may have it.
                continue
            } catch is FormatError {
                continue
            }
        }
        throw NoGoodCopy(object: "\(name)", isTransient: true)
    }

    /// Puts an object that may be there already: then it has to be the same.
    func putSame(_ bytes: [UInt8], as name: ObjectName, in store: OpenStore) async throws {
        do {
            try await store.store.put(name, bytes)
        } catch StoreError.alreadyExists {
            let stored = try await store.store.read(name, maximumBytes: max(bytes.count, 1))
            guard stored == bytes else {
                throw FormatError("object \(name)", .malformed("another object stands under its name"))
            }
        }
    }
}
