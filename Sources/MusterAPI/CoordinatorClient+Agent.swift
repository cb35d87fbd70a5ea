import Foundation
package import MusterModel

/// The agent plane.
extension CoordinatorClient {
    package func join(_ request: Muster_V1_JoinRequest) async throws(CoordinatorError) -> Muster_V1_JoinResponse {
        // A token is good for one request; the same request again gets the same answer.
        try await post("/v1/join", request)
    }

    package func renew(_ request: Muster_V1_RenewRequest) async throws(CoordinatorError) -> Muster_V1_RenewResponse {
        try await post("/v1/renew", request, repeatable: false)
    }

    /// Which of these sealed chunks are already there, and where.
    package func missing(_ chunks: [ChunkID]) async throws(CoordinatorError) -> Muster_V1_MissingResponse {
        var request = Muster_V1_MissingRequest()
        request.chunkIds.reserveCapacity(chunks.count * ChunkID.byteCount)
        for chunk in chunks { request.chunkIds.append(contentsOf: chunk.bytes) }
        return try await post("/v1/chunks/missing", request)
    }

    /// - Parameter onBytesSent: bytes of this pack given to the network so far.
    package func put(
        _ pack: PackID, bytes: [UInt8], onBytesSent: (@Sendable (Int) -> Void)? = nil
    ) async throws(CoordinatorError) -> Muster_V1_PackAccepted {
        try await put("/v1/packs/\(pack)", bytes, onBytesSent: onBytesSent)
    }

    /// Asks for addresses under which packs can be put straight into a store.
    package func uploads(for packs: [(id: PackID, byteCount: Int)]) async throws(CoordinatorError)
        -> Muster_V1_UploadResponse
    {
        var request = Muster_V1_UploadRequest()
        request.packs = packs.map { pack in
            var wish = Muster_V1_UploadPack()
            (wish.id, wish.sizeBytes) = (.init(pack.id.bytes), UInt64(pack.byteCount))
            return wish
        }
        return try await post("/v1/uploads", request)
    }

    /// Says that the pack was put under the address of that grant. The same again gets the same answer.
    package func claim(_ pack: PackID, grant: String) async throws(CoordinatorError) -> Muster_V1_PackAccepted {
        var request = Muster_V1_PackClaim()
        request.grant = grant
        return try await post("/v1/packs/\(pack)/claim", request)
    }

    /// The same manifest again gives the same receipt.
    package func commit(_ request: Muster_V1_CommitRequest) async throws(CoordinatorError) -> Muster_V1_CommitResponse {
        try await post("/v1/snapshots", request, timeout: .seconds(120))
    }

    package func report(_ request: Muster_V1_ReportRequest) async throws(CoordinatorError) -> Muster_V1_ReportResponse {
        try await post("/v1/report", request)
    }

    /// Waits up to `request.waitSeconds` for a job.
    package func work(_ request: Muster_V1_WorkRequest) async throws(CoordinatorError) -> Muster_V1_WorkResponse {
        try await post(
            "/v1/work", request, timeout: .seconds(Int64(request.waitSeconds) + 15), repeatable: false)
    }

    /// Sends the node's key record, where no store has a good one.
    package func send(keyRecord: [UInt8]) async throws(CoordinatorError) -> Muster_V1_KeysAccepted {
        var request = Muster_V1_KeysRequest()
        request.keyRecord = .init(keyRecord)
        return try await post("/v1/keys", request)
    }

    package func finish(
        _ job: JobID, _ outcome: Muster_V1_JobOutcome
    ) async throws(CoordinatorError) -> Muster_V1_JobOutcomeAccepted {
        try await post("/v1/jobs/\(job)/outcome", outcome)
    }
}
