import Foundation
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel

/// The coordinator as the place where a pipeline's packs go, or a store that it has addresses for.
struct CoordinatorSink: PackSink {
    let coordinator: CoordinatorClient
    let uploads: SignedUploads

    func present(_ chunks: [ChunkID]) async throws -> [ChunkID: PresentChunk] {
        guard !chunks.isEmpty else { return [:] }
        let answer = try await coordinator.missing(chunks)
        let packs = answer.packs.map { PackID(bytes: $0) }
        var places: [ChunkID: PresentChunk] = [:]
        for present in answer.present {
            guard chunks.indices.contains(Int(present.index)), packs.indices.contains(Int(present.pack)),
                let pack = packs[Int(present.pack)]
            else {
                throw CoordinatorError.unreadable(path: "/v1/chunks/missing", reason: "a place is out of range")
            }
            places[chunks[Int(present.index)]] = PresentChunk(
                pack: pack, offset: present.offset, length: present.length)
        }
        return places
    }

    func read(_ pack: PackID, _ range: Range<Int>) async throws -> [UInt8]? {
        do {
            return try await coordinator.bytes(of: pack, in: UInt64(range.lowerBound)..<UInt64(range.upperBound)).bytes
        } catch {
            // Only copies are made of it: what is out of reach now is copied another time.
            return nil
        }
    }

    func put(_ pack: PackID, bytes: [UInt8], onBytesSent: @escaping @Sendable (Int) -> Void) async throws {
        if await uploads.put(pack, bytes: bytes, onBytesSent: onBytesSent) { return }
        _ = try await coordinator.put(pack, bytes: bytes, onBytesSent: onBytesSent)
    }
}
