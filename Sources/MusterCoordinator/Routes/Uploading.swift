import Foundation
import Hummingbird
import MusterAPI
import MusterFormat
import MusterModel
import MusterStore

/// Packs on their way past the coordinator.
extension Coordinator {
    private static let wishesAtOnce = 16
    /// After which time a node may ask again where no store takes packs directly.
    private static let askAgainAfter: UInt32 = 60

    func grantUploads(_ call: Call) async throws -> Response {
        let (node, scope) = try Self.node(call)
        let request: Muster_V1_UploadRequest = try await call.message()
        guard (1...Self.wishesAtOnce).contains(request.packs.count) else {
            throw Refusal.malformed("packs must be 1 to \(Self.wishesAtOnce)")
        }
        let wishes = try request.packs.map(Self.wish)
        guard Set(wishes.map(\.pack)).count == wishes.count else { throw Refusal.malformed("a pack is named twice") }
        var answer = Muster_V1_UploadResponse()
        guard let target = try await uploadTarget(of: node) else {
            answer.askAgainAfterSeconds = Self.askAgainAfter
            return try call.answer(answer)
        }
        try await requireRoom(for: wishes.map { ComingPack(id: $0.pack, byteCount: $0.byteCount) }, in: scope)
        answer.uploads = try await self.answer(wishes, of: node, scope: scope, target).map(Muster_V1_Upload.init)
        return try call.answer(answer)
    }

    private static func wish(_ pack: Muster_V1_UploadPack) throws -> UploadWish {
        guard let id = PackID(bytes: pack.id) else { throw Refusal.malformed("a pack's id has 32 bytes") }
        guard (1...UInt64(Format.maximumPackBytes)).contains(pack.sizeBytes) else {
            throw Refusal.tooLarge("the pack", limitBytes: Format.maximumPackBytes)
        }
        return UploadWish(pack: id, byteCount: Int(pack.sizeBytes))
    }

    func claimPack(_ call: Call) async throws -> Response {
        let (node, scope) = try Self.node(call)
        guard let id = PackID(call.parameters[0]) else { throw Refusal.malformed("the path names no pack") }
        let request: Muster_V1_PackClaim = try await call.message()
        guard let generation = Generation(request.grant) else { throw Refusal.malformed("the grant is none") }
        var answer = Muster_V1_PackAccepted()
        answer.sizeBytes = UInt64(try await claim(id, generation: generation, of: node, scope: scope))
        answer.id = id.description
        return try call.answer(answer)
    }
}

extension Muster_V1_Upload {
    fileprivate init(_ answer: Coordinator.UploadAnswer) {
        self.init()
        switch answer {
        case .present: isPresent = true
        case .refused: break
        case .granted(let place, let generation, let store, let authority):
            (url, headers) = (place.url, place.headers)
            (expiresAt, grant) = (place.expiresAt.description, generation.description)
            (self.store, self.authority) = (store, authority ?? "")
        }
    }
}
