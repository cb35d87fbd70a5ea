import MusterFormat
package import MusterModel
package import MusterSQLite

/// Takes snapshots: capture ▶ compare and seal ▶ pack ▶ push, stages connected by lines of bounded length.
///
/// Memory is bounded by a few batches (4 MiB each, plain or sealed), the pack
/// that is filled and the packs under way, whatever the database's size.
package struct SnapshotPipeline: Sendable {
    private let settings: SealingSettings
    private let options: CaptureOptions
    private let clock: any WallClock
    private let monotonic: @Sendable () -> Duration
    private let observe: @Sendable (PinnedCapture) throws -> Void

    /// - Parameters:
    ///   - monotonic: time since some fixed moment, never set back.
    ///   - observe: sees each capture right after its read transaction began; for tests.
    package init(
        settings: SealingSettings, options: CaptureOptions = CaptureOptions(), clock: any WallClock,
        monotonic: @escaping @Sendable () -> Duration,
        observe: @escaping @Sendable (PinnedCapture) throws -> Void = { _ in }
    ) {
        (self.settings, self.options, self.clock) = (settings, options, clock)
        (self.monotonic, self.observe) = (monotonic, observe)
    }

    /// What the ledger of a database says; nil where it has none and one is built.
    package struct Known: Sendable {
        package let ledger: any PageLedger
        /// Nil while the ledger is new and empty.
        package let state: LedgerState?

        package init(ledger: any PageLedger, state: LedgerState?) { (self.ledger, self.state) = (ledger, state) }
    }

    /// Captures the database and pushes its packs; the manifest is made, not sent.
    ///
    /// - Throws: `CaptureError` for the source, `SourceReplaced` where it has another page size than the ledger,
    ///   `LedgerError` where the ledger is of no use, `FormatError` where
    ///   this machine computes wrongly, and what the sink throws. Packs already pushed are found again by the next try.
    package func run(
        _ request: SnapshotRequest, _ way: CaptureWay, _ known: Known, sink: some PackSink,
        onProgress: @escaping @Sendable (SnapshotProgress) -> Void = { _ in }
    ) async throws -> SnapshotOutcome {
        let draft = LedgerDraft(ledger: known.ledger, state: known.state, sequence: request.sequence)
        let lanes = SealingLanes(
            keys: settings.keys, level: settings.compressionLevel, count: settings.lanes, cache: settings.cache)
        let events = CaptureStage(
            path: request.path, way: way, draft: draft, lanes: lanes, options: options, clock: clock,
            monotonic: monotonic, observe: observe
        ).start()
        do {
            var assembler = SnapshotAssembler(draft: draft, settings: settings, sink: sink, onProgress: onProgress)
            let (end, assembled) = try await assembler.run(events, skipsUnchanged: request.skipsUnchanged)
            await events.cancelAndWait()
            guard let assembled else {
                return .unchanged(
                    UnchangedSource(
                        fingerprint: SourceIdentity.provingText(end.source.fingerprint, at: end.source.beganAt),
                        readAt: end.at, cursor: end.source.cursor?.bytes))
            }
            return .prepared(
                try ManifestMaker(request: request, settings: settings, draft: draft).prepare(
                    assembled, assembler.inlinePacks, assembler.addedBytes, assembler.figures))
        } catch {
            // However this ends, the capture's thread is gone and its locks with it before the caller goes on.
            await events.cancelAndWait()
            throw error
        }
    }
}
