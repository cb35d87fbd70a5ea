import Logging
import MusterAPI
import MusterModel
import MusterStore
import MusterTransfer
import Synchronization

/// Puts packs straight into a store, under addresses that the coordinator signs.
///
/// Nothing depends on it: whatever goes wrong, the pack goes through the coordinator. A server that this node does not
/// reach is left alone for a while, so that each pack does not wait for it anew.
final class SignedUploads: Sendable {
    private static let connectTimeout = Duration.seconds(5)
    private static let stallTimeout = Duration.seconds(60)
    /// An address may have become too old while the pack waited for its turn.
    private static let addressesForOnePack = 2
    private static let pauseAfterFailure = Duration.seconds(600)
    private static let longestPause = Duration.seconds(3600)

    private struct State {
        /// Nobody asks before.
        var askAgainAt: Duration?
        /// The one server there usually is, by who certifies it.
        var sender: (authority: String, sender: SignedPutSender)?
    }

    private let coordinator: CoordinatorClient
    private let uploadLimit: Int?
    private let takesLoopback: Bool
    private let environment: AgentEnvironment
    private let state = Mutex(State())

    /// - Parameters:
    ///   - url: the coordinator's: only one on this very machine may send packs to others on it.
    ///   - uploadLimit: bytes a second for each pack; nil for no limit.
    init(coordinator: CoordinatorClient, url: String, uploadLimit: Int?, environment: AgentEnvironment) {
        (self.coordinator, self.uploadLimit, self.environment) = (coordinator, uploadLimit, environment)
        takesLoopback = HTTPRequest.isLoopback(url: url)
    }

    /// - Returns: false where the pack has to go through the coordinator.
    func put(_ pack: PackID, bytes: [UInt8], onBytesSent: @escaping @Sendable (Int) -> Void) async -> Bool {
        guard mayAsk else { return false }
        do {
            for _ in 0..<Self.addressesForOnePack {
                let answer = try await coordinator.uploads(for: [(pack, bytes.count)])
                guard let upload = answer.uploads.first else {
                    pause(.seconds(Int64(answer.askAgainAfterSeconds)))
                    return false
                }
                if upload.isPresent { return true }
                guard !upload.url.isEmpty else { return false }
                let reason: String
                switch try await send(bytes, upload, onBytesSent) {
                case .put, .taken:
                    environment.reach(.packUploaded)
                    _ = try await coordinator.claim(pack, grant: upload.grant)
                    return true
                case .refused(let given): reason = given
                }
                tell("address for a pack refused", upload.store, reason)
            }
            pause(Self.pauseAfterFailure)
        } catch let error as CoordinatorError {
            tell("pack not put into the store", "", error.summary)
            // A coordinator that knows of no addresses will not learn of them soon.
            if error.isNotFound { pause(Self.pauseAfterFailure) }
        } catch {
            let reason = (error as? any ActionableError)?.summary ?? "\(error)"
            tell("store not reached from here: packs go through the coordinator", "", reason)
            pause(Self.pauseAfterFailure)
        }
        return false
    }

    func shutdown() { state.withLock { $0.sender?.sender.shutdown() } }

    private func send(
        _ bytes: [UInt8], _ upload: Muster_V1_Upload, _ onBytesSent: @escaping @Sendable (Int) -> Void
    ) async throws(TransferError) -> SignedPutSender.Outcome {
        let place = SignedPut(
            url: upload.url, headers: upload.headers,
            expiresAt: Timestamp(upload.expiresAt) ?? environment.clock.now())
        return try await sender(upload.authority).put(
            bytes, to: place, maximumSendBytesPerSecond: uploadLimit, stallTimeout: Self.stallTimeout,
            onBytesSent: onBytesSent)
    }

    private func sender(_ authority: String) throws(TransferError) -> SignedPutSender {
        if let known = state.withLock({ $0.sender }), known.authority == authority { return known.sender }
        let sender = try SignedPutSender(
            authority: authority.isEmpty ? nil : authority, takesLoopback: takesLoopback,
            connectTimeout: Self.connectTimeout)
        return state.withLock { state in
            // Another pack may have made one meanwhile; ours ends with its last reference then.
            if let known = state.sender, known.authority == authority { return known.sender }
            state.sender = (authority, sender)
            return sender
        }
    }

    private var mayAsk: Bool {
        let now = environment.monotonic()
        return state.withLock { $0.askAgainAt.map { now >= $0 } ?? true }
    }

    private func pause(_ time: Duration) {
        let until = environment.monotonic() + min(max(time, .seconds(1)), Self.longestPause)
        state.withLock { $0.askAgainAt = until }
    }

    private func tell(_ what: Logger.Message, _ store: String, _ reason: String) {
        environment.logger.warning(what, metadata: ["store": "\(store)", "reason": "\(reason)"])
    }
}
