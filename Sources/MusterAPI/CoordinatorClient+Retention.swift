/// Which snapshots are kept: the admin plane's routes for it.
extension CoordinatorClient {
    package func retention() async throws(CoordinatorError) -> Muster_V1_RetentionState {
        try await get("/v1/retention")
    }

    package func setRetention(
        _ request: Muster_V1_RetentionSetRequest
    ) async throws(CoordinatorError) -> Muster_V1_RetentionState {
        try await post("/v1/retention", request)
    }

    package func previewRetention(
        _ request: Muster_V1_RetentionPreviewRequest
    ) async throws(CoordinatorError) -> Muster_V1_RetentionPreview {
        try await post("/v1/retention/preview", request, timeout: .seconds(120))
    }

    /// What is marked twice stays marked by the first.
    package func applyRetention(
        _ request: Muster_V1_RetentionApplyRequest
    ) async throws(CoordinatorError) -> Muster_V1_RetentionApplied {
        try await post("/v1/retention/apply", request, timeout: .seconds(300), repeatable: false)
    }

    package func undoRetention(
        _ request: Muster_V1_RetentionUndoRequest
    ) async throws(CoordinatorError) -> Muster_V1_SnapshotOutcomeList {
        try await post("/v1/retention/undo", request, timeout: .seconds(300), repeatable: false)
    }

    package func hold(
        _ request: Muster_V1_SnapshotHoldRequest
    ) async throws(CoordinatorError) -> Muster_V1_SnapshotOutcomeList {
        try await post("/v1/snapshots/hold", request)
    }

    package func release(
        _ request: Muster_V1_SnapshotReleaseRequest
    ) async throws(CoordinatorError) -> Muster_V1_SnapshotOutcomeList {
        try await post("/v1/snapshots/release", request, repeatable: false)
    }

    package func forget(
        _ request: Muster_V1_SnapshotForgetRequest
    ) async throws(CoordinatorError) -> Muster_V1_SnapshotOutcomeList {
        try await post("/v1/snapshots/forget", request, repeatable: false)
    }

    package func clearAlarms(
        _ request: Muster_V1_AlarmClearRequest
    ) async throws(CoordinatorError) -> Muster_V1_AlarmCleared {
        try await post("/v1/alarms/clear", request)
    }
}
