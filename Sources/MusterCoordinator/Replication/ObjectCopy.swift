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
            let isRecorded = try await catalog.recordCopy(
                of: pack, in: store.number, generation: generation.description, object: newName.description,
                replacing: try old.map { (try Self.name(of: $0).description, $0.state == .damaged) },
                quarantine: Self.quarantine, now: clock.now())
            guard isRecorded else { return try await seeWhatOvertook(pack, in: store) }
            return
        }
        throw NoGoodCopy(object: "pack \(pack.id)", isTransient: hasAbsent)
    }

    /// Another copy that is good serves as well, and a pack that is gone needs none.
    private func seeWhatOvertook(_ pack: Catalog.PackCopies, in store: OpenStore) async throws {
        guard let now = try await catalog.copies(ofPack: pack.number) else { return }
        guard now.replicas.contains(where: { $0.store == store.number && $0.state == .present }) else {
            throw Overtaken(what: "what the store has of pack \(pack.id)")
        }
    }

    /// The copy counts for nothing; it is asked again whether one is wanted.
    struct Overtaken: ActionableError {
        let what: String
        let isTransient = true
        var summary: String { "\(what) changed while it was copied" }
        var hint: String { "Nothing is wrong; it is copied again where it is still wanted." }
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
        guard let key = VerifyingKey(bytes: node.signingKey) else { throw CatalogError.damaged(column: "signing_key") }
        let replicas = try await catalog.keyReplicas(of: node.id)
        var hasAbsent = false
        for replica in replicas where replica.state == .present && replica.store != store.number {
            guard let source = stores[replica.store] else { continue }
            guard !source.isAway else {
                hasAbsent = true
                continue
            }
            guard let bytes = try await goodKeys(replica, of: node.id, key, in: source) else { continue }
            let epoch = try KeyRecord.parse(bytes).verified(by: key).keyEpoch
            let name = ObjectName.nodeKeys(node.id, epoch: epoch, Generation(from: random))
            try await store.store.put(name, bytes)
            let isRecorded = try await catalog.recordKeys(
                of: node.id, in: store.number, object: name.description, byteCount: bytes.count,
                replacing: replicas.first { $0.store == store.number }?.object, quarantine: Self.quarantine,
                now: clock.now())
            let isThere = try await catalog.keyReplicas(of: node.id).contains {
                $0.store == store.number && $0.state == .present
            }
            // Others that came first serve as well.
            guard isRecorded || isThere else {
                throw Overtaken(what: "what the store has of the keys of node '\(node.name)'")
            }
            return
        }
        throw NoGoodCopy(object: "the key record of node '\(node.name)'", isTransient: hasAbsent)
    }

    /// Reads one replica of a node's key record, checks its signature and records what was found.
    ///
    /// - Returns: nil where it is not good.
    func goodKeys(
        _ replica: Catalog.KeyReplica, of node: NodeID, _ key: VerifyingKey, in store: OpenStore
    ) async throws -> [UInt8]? {
        do {
            return try await readKeys(replica, of: node, key, in: store)
        } catch let error as StoreError {
            _ = try Self.reason(of: error)
            return nil
        } catch is FormatError {
            return nil
        }
    }

    /// - Throws: what is wrong with it, after that was recorded.
    func readKeys(
        _ replica: Catalog.KeyReplica, of node: NodeID, _ key: VerifyingKey, in store: OpenStore
    ) async throws -> [UInt8] {
        guard let name = ObjectName(replica.object) else { throw CatalogError.damaged(column: "object") }
        var state = Catalog.ReplicaState.damaged
        do {
            let bytes = try await store.store.read(name, maximumBytes: Format.maximumRecordBytes, fresh: true)
            _ = try KeyRecord.parse(bytes).verified(by: key)
            try await catalog.markKeys(
                of: node, in: store.number, object: replica.object, as: .present, now: clock.now())
            return bytes
        } catch {
            if case StoreError.notFound = error { state = .missing }
            if let error = error as? StoreError, error.isTransient { throw error }
            if error is CatalogError { throw error }
            try await catalog.markKeys(of: node, in: store.number, object: replica.object, as: state, now: clock.now())
            await replications.ring(true)
            throw error
        }
    }
}
