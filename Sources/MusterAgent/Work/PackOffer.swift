import Logging
import MusterAPI
import MusterEngine
import MusterModel

/// Sends packs again that the coordinator has no good copy of any more, as far as this node still has their bytes.
struct PackOffer: Sendable {
    let cache: PackCache
    let coordinator: CoordinatorClient
    let logger: Logger

    /// - Returns: whether all of them arrived.
    @discardableResult
    func send(_ packs: [PackID]) async -> Bool {
        var sent = 0
        for pack in packs {
            do {
                guard let bytes = try await cache.whole(pack) else { continue }
                _ = try await coordinator.put(pack, bytes: bytes)
                sent += 1
                logger.notice("pack sent again, as no store had it", metadata: ["pack": "\(pack)"])
            } catch {
                logger.warning("lost pack not sent", metadata: ["pack": "\(pack)", "reason": "\(error)"])
            }
        }
        return sent == packs.count
    }
}
