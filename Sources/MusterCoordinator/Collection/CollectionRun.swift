import MusterCatalog
import MusterModel
import Synchronization

/// One run of gc, and what it did so far.
struct CollectionRun: Codable, Hashable, Sendable {
    let id: String
    let actor: String
    let startedAt: String
    var finishedAt = ""
    var estimate = Estimate()
    var forgottenSnapshots = 0
    var condemnedPacks = 0
    var sweptPacks = 0
    var droppedSnapshots = 0
    var deletedObjects = 0
    var deletedBytes: Int64 = 0
    /// Why nothing was given up.
    var stopped = ""

    struct Estimate: Codable, Hashable, Sendable {
        var snapshots = 0
        var totalSnapshots = 0
        var packs = 0
        var bytes: Int64 = 0
        var totalBytes: Int64 = 0
    }
}

extension CollectionRun.Estimate {
    init(_ estimate: Catalog.CollectionEstimate) {
        (snapshots, totalSnapshots) = (estimate.snapshots, estimate.totalSnapshots)
        (packs, bytes, totalBytes) = (estimate.packs, estimate.byteCount, estimate.totalBytes)
    }
}

extension Catalog.CollectionEstimate {
    /// More than this part of all snapshots or bytes is not given up at once without a person's word.
    private static let mostPercent: Int64 = 50
    /// So few snapshots of so few bytes are never implausible: a small fleet thins out its first days.
    private static let fewSnapshots = 20
    private static let fewBytes: Int64 = 1 << 30

    /// Whether a mistake, of a person or of ours, is likelier than a wish.
    ///
    /// Only bytes that snapshots need count: a node that sends much and commits nothing must not be able to stop gc for
    /// all.
    var isImplausible: Bool {
        guard snapshots > Self.fewSnapshots || freedBytes > Self.fewBytes else { return false }
        let isMostSnapshots = Int64(snapshots) * 100 > Int64(totalSnapshots) * Self.mostPercent
        let isMostBytes = freedBytes / Self.mostPercent > neededBytes / 100
        return isMostBytes || snapshots > Self.fewSnapshots && isMostSnapshots
    }
}

/// Which run of gc is wanted, and the one under way: one after the other.
final class CollectionBook: Sendable {
    struct Order: Hashable, Sendable {
        let id: RunID
        let actor: String
        /// Goes on where much would be given up.
        let evenIfMuch: Bool
    }

    private struct Book {
        var order: Order?
        var current: CollectionRun?
    }

    private let book = Mutex(Book())
    /// Rings for an order.
    let orders = Bell<Bool>()

    /// - Returns: the order that stands; an earlier one that has not begun is the same run.
    func want(_ order: Order) -> Order {
        book.withLock { book in
            if let standing = book.order, standing.evenIfMuch || !order.evenIfMuch { return standing }
            book.order = order
            return order
        }
    }

    func takeOrder() -> Order? { book.withLock { $0.order.take() } }

    var waiting: Order? { book.withLock { $0.order } }
    var current: CollectionRun? { book.withLock { $0.current } }

    func show(_ run: CollectionRun?) { book.withLock { $0.current = run } }
}
