/// gc: the admin plane's routes for it.
extension CoordinatorClient {
    package func collection() async throws(CoordinatorError) -> Muster_V1_CollectionState { try await get("/v1/gc") }

    package func collect(
        _ request: Muster_V1_CollectionRunRequest
    ) async throws(CoordinatorError) -> Muster_V1_CollectionState {
        try await post("/v1/gc", request, timeout: .seconds(120), repeatable: false)
    }
}
