import MusterFormat
import MusterModel

/// Reads the map of one group after another from the whole base chain.
///
/// Changes in the manifests are at hand; change chunks are opened as groups come to need them, and kept up to a
/// bound, so that memory does not grow with the database.
final class MapReader: Sendable {
    private static let cacheBytes = 32 << 20

    /// What a chunk says depends on the delta that it is read for: its geometry, and what its own pack is.
    private struct Key: Hashable {
        let delta: SnapshotID
        let chunk: ChunkID
    }

    private let plan: RestorePlan
    private let reader: PackReader
    private let cache = BoundedCache<Key, MapChanges>(limitBytes: MapReader.cacheBytes)
    private let gate = Gate()

    init(plan: RestorePlan, reader: PackReader) { (self.plan, self.reader) = (plan, reader) }

    func state(ofGroup index: Int) async throws -> GroupState {
        var state = GroupState(group: index, pagesPerExtent: plan.full.geometry.pagesPerExtent)
        if index < plan.groups.count {
            let (reference, decoder) = (plan.groups[index], MapDecoder(plan.full))
            let map = try await reader.openMap(reference.place, plainByteCount: reference.plainByteCount) { plain in
                try decoder.group(from: plain, of: reference)
            }
            state.begin(with: map, in: plan.full.geometry)
        }
        for delta in plan.deltas {
            state.cut(to: delta.publicPart.geometry)
            for changes in try await changes(of: delta, group: index) {
                if let missing = state.apply(changes, in: delta.publicPart.geometry) {
                    throw RestoreError.damaged(
                        snapshot: reader.snapshot, store: reader.source.name,
                        object: "manifest of snapshot \(delta.publicPart.snapshot)",
                        reason: "it continues extent \(missing), which its base does not have")
                }
            }
        }
        return state
    }

    private func changes(of delta: RestorePlan.Delta, group: Int) async throws -> [MapChanges] {
        switch delta.map {
        case .groups: return []
        case .changes(let changes): return [changes]
        case .changeChunks(let references):
            let first = group * DatabaseGeometry.extentsPerGroup
            let extents = first...first + DatabaseGeometry.extentsPerGroup - 1
            let start = references.firstIndexOfSorted { $0.extents.upperBound >= extents.lowerBound }
            var list: [MapChanges] = []
            for reference in references[start...].prefix(while: { $0.extents.overlaps(extents) }) {
                list.append(try await changes(reference, of: delta))
            }
            return list
        }
    }

    private func changes(_ reference: MapChangesReference, of delta: RestorePlan.Delta) async throws -> MapChanges {
        let key = Key(delta: delta.publicPart.snapshot, chunk: reference.place.chunk)
        if let known = cache[key] { return known }
        // Groups that are under way together mostly need the same chunk: the first one fetches it for all.
        return try await gate.pass { [cache, reader] in
            if let known = cache[key] { return known }
            let decoder = MapDecoder(delta.publicPart)
            let changes = try await reader.openMap(
                reference.place, plainByteCount: reference.plainByteCount
            ) { plain in try decoder.changes(from: plain, of: reference) }
            cache.insert(changes, for: key, byteCount: 2 * reference.plainByteCount)
            return changes
        }
    }
}
