import Foundation
import HTTPTypes
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel

/// What a node sends: chunks it asks about, packs, snapshots.
extension Coordinator {
    private static let maximumChunks = 8192
    private static let maximumInlinePack = 256 << 10
    private static let maximumInlineBytes = 1 << 20

    func missingChunks(_ call: Call) async throws -> Response {
        let (_, scope) = try Self.node(call)
        let request: Muster_V1_MissingRequest = try await call.message()
        let bytes = request.chunkIds
        guard bytes.count.isMultiple(of: ChunkID.byteCount), bytes.count / ChunkID.byteCount <= Self.maximumChunks
        else {
            throw Refusal.malformed("chunk_ids must be 32 bytes each, at most \(Self.maximumChunks) of them")
        }
        let ids = stride(from: bytes.startIndex, to: bytes.endIndex, by: ChunkID.byteCount).compactMap {
            ChunkID(bytes: bytes[$0..<$0 + ChunkID.byteCount])
        }
        let present = try await catalog.presentChunks(ids, in: scope, now: clock.now())
        return try call.answer(Self.missingAnswer(present))
    }

    func putPack(_ call: Call) async throws -> Response {
        let (node, scope) = try Self.node(call)
        guard let id = PackID(call.parameters[0]) else { throw Refusal.malformed("the path names no pack") }
        guard let length = call.declaredLength else { throw Refusal.lengthRequired }
        guard length > 0 else { throw Refusal.malformed("the pack is empty") }
        guard length <= Format.maximumPackBytes else {
            throw Refusal.tooLarge("the pack", limitBytes: Format.maximumPackBytes)
        }
        try await ingest(id, of: node, scope: scope, byteCount: length, body: call.request.body)
        metrics.countPack(bytes: Int64(length))
        var answer = Muster_V1_PackAccepted()
        answer.id = id.description
        answer.sizeBytes = UInt64(length)
        return try call.answer(answer)
    }

    func commitSnapshot(_ call: Call) async throws -> Response {
        let (node, scope) = try Self.node(call)
        // A body may be large, so the sum of those in memory is bounded; its copies while it is decoded count too.
        let receipt = try await passBodies(node, byteCount: (call.declaredLength ?? 0) * 2) {
            let request: Muster_V1_CommitRequest = try await call.message()
            let packs = request.packs.map { Array($0) }
            guard packs.allSatisfy({ $0.count <= Self.maximumInlinePack }),
                packs.reduce(0, { $0 + $1.count }) <= Self.maximumInlineBytes
            else { throw Refusal.tooLarge("a pack inside the commit", limitBytes: Self.maximumInlinePack) }
            let manifest = try await checkedManifest(Array(request.manifest), node: node, scope: scope)
            return try await commit(manifest, bringing: try await checked(packs))
        }
        var answer = Muster_V1_CommitResponse()
        answer.receipt = .init(receipt)
        return try call.answer(answer)
    }

    /// Bounds the sum of bodies in memory, which a commit needs to its end. A node has one large one at a time, and small
    /// ones do not wait for those; nor do large ones for the manifests of the largest databases, of which one comes at a
    /// time. So no node holds more than a part of what others wait for, and the largest not for long (`Call.pace`).
    func passBodies<Value: Sendable>(
        _ node: NodeID, byteCount: Int, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        if byteCount <= Self.smallBodyBytes {
            return try await smallBodyShares.pass(node, weight: byteCount) {
                try await smallBodies.pass(weight: byteCount, body)
            }
        }
        return try await bodyShares.pass(node) {
            guard byteCount <= Self.usualBodyBytes else { return try await largestBody.pass(body) }
            return try await bodies.pass(weight: byteCount, body)
        }
    }

    /// - Returns: each pack once, in the order of their ids.
    private func checked(_ packs: [[UInt8]]) async throws -> [InlinePack] {
        guard !packs.isEmpty else { return [] }
        return try await hashing.run {
            var known: Set<PackID> = []
            return try packs.map(InlinePack.init).filter { known.insert($0.id).inserted }.sorted { $0.id < $1.id }
        }
    }

    static func node(_ call: Call) throws -> (NodeID, ScopeID) {
        guard case .node(let node, let scope, _) = call.caller else { throw Refusal.forbidden }
        return (node, scope)
    }

    /// Everything that the manifest says of its maker must be what the certificate says.
    private func checkedManifest(_ bytes: [UInt8], node: NodeID, scope: ScopeID) async throws -> Manifest {
        let parsed = try Manifest.parse(bytes)
        guard let entry = try await catalog.node(node), let key = VerifyingKey(bytes: entry.signingKey) else {
            throw Refusal.unknownCertificate
        }
        let manifest = try parsed.verified(by: key)
        guard manifest.publicPart.node == node, manifest.publicPart.scope == scope else {
            throw Refusal(
                .forbidden, "not_yours", "the manifest is of another node or scope",
                hint: "Look for two agents that share a state directory.")
        }
        return manifest
    }

    private static func missingAnswer(_ present: [Catalog.PresentChunk]) -> Muster_V1_MissingResponse {
        var answer = Muster_V1_MissingResponse()
        var positions: [PackID: UInt32] = [:]
        for chunk in present {
            if positions[chunk.pack] == nil {
                positions[chunk.pack] = UInt32(answer.packs.count)
                answer.packs.append(.init(chunk.pack.bytes))
            }
            var item = Muster_V1_PresentChunk()
            item.index = UInt32(chunk.index)
            item.pack = positions[chunk.pack] ?? 0
            item.offset = UInt32(chunk.offset)
            item.length = UInt32(chunk.length)
            answer.present.append(item)
        }
        return answer
    }
}
