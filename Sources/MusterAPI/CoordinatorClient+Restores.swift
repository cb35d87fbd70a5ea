import Foundation
package import MusterModel

/// Restores that nodes do: orders on the admin plane, the node's part on the agent plane.
extension CoordinatorClient {
    /// Begins a run.
    ///
    /// - Parameters:
    ///   - grants: as `format.md` says, 1 to 1000.
    ///   - isForeign: among them are some with another node's secret, which is for admins.
    package func restore(
        _ grants: [[UInt8]], isForeign: Bool
    ) async throws(CoordinatorError) -> Muster_V1_RestoreRun {
        var request = Muster_V1_RestoreRequest()
        request.grants = grants.map { .init($0) }
        return try await post(
            isForeign ? "/v1/restore-grants" : "/v1/restores", request, timeout: .seconds(300), repeatable: false)
    }

    package func restoreRun(_ run: String) async throws(CoordinatorError) -> Muster_V1_RestoreRun {
        try await get("/v1/restores/\(escaped(run))")
    }

    /// Takes back what is open of a run, or one order.
    package func cancel(restore id: String) async throws(CoordinatorError) -> Muster_V1_RestoreRun {
        try await post("/v1/restores/\(escaped(id))/cancel", Muster_V1_RestoreProgress())
    }

    /// Tells how far a restore is.
    ///
    /// - Parameter waitsFor: why nothing is read just now; "" while something is.
    /// - Returns: whether its order still stands.
    package func progress(
        of grant: GrantID, readBytes: UInt64, ofBytes: UInt64, waitsFor: String = ""
    ) async throws(CoordinatorError) -> Bool {
        var request = Muster_V1_RestoreProgress()
        (request.bytesRead, request.bytesTotal, request.waitsFor) = (readBytes, ofBytes, waitsFor)
        let answer: Muster_V1_RestoreProgressAccepted = try await post("/v1/jobs/\(grant)/progress", request)
        return answer.open
    }
}
