import MusterModel
import Synchronization

/// Packs and key records of which no store has a good copy: whom they are wanted from, and what was done about it.
///
/// Kept in memory only: after a restart everybody is asked once more.
final class WantedBook: Sendable {
    /// A node is asked for the same pack again after this long.
    private static let askedEvery = Duration.seconds(600)
    /// For its key record: the poll that took the question may have been of a life that had ended.
    private static let keysEvery = Duration.seconds(60)
    /// What a node that has the bytes needs at most to send them; after that a snapshot has to make them again.
    private static let patience = Duration.seconds(60)
    private static let snapshotEvery = Duration.seconds(3600)
    /// Where more are lost than are looked at at once, the next ones come after this long: until then their nodes have
    /// been asked, and snapshots made in their place.
    private static let pageStays = Duration.seconds(3600)
    /// Of up to 64 MiB each.
    private static let mostAtOnce = 16

    private struct Wanted {
        let node: NodeID
        var askedAt: Timestamp?
        /// When the node was asked for the first time.
        var wantedSince: Timestamp?

        /// A clock that was set back must not put it off.
        func isDue(_ now: Timestamp, every interval: Duration = WantedBook.askedEvery) -> Bool {
            guard let askedAt, askedAt <= now else { return true }
            return now - askedAt >= interval
        }
    }

    private struct Book {
        var packs: [PackID: Wanted] = [:]
        /// Nodes that are to send their key records.
        var keys: [NodeID: Wanted] = [:]
        /// When a snapshot was last asked for.
        var snapshots: [DatabaseID: Timestamp] = [:]
        /// Lost packs after this number are looked at, since when.
        var page: (after: Int64, since: Timestamp)?
    }

    private let book = Mutex(Book())

    /// Which lost packs are looked at now: those after this number.
    func page(now: Timestamp) -> Int64 {
        book.withLock { book in
            if book.page == nil { book.page = (0, now) }
            return book.page?.after ?? 0
        }
    }

    /// Turns to the next lost packs where these have had their time, or are none.
    ///
    /// - Parameters:
    ///   - last: the number of the last one that was looked at.
    ///   - hasMore: whether there may be more behind it; else it begins again.
    func turn(after last: Int64?, hasMore: Bool, now: Timestamp) {
        book.withLock { book in
            guard let page = book.page else { return }
            // A clock that was set back must not put it off.
            let isOver = page.since > now || now - page.since >= Self.pageStays
            guard isOver || last == nil else { return }
            book.page = (hasMore ? last ?? 0 : 0, now)
        }
    }

    /// Takes note of the lost packs that are looked at now; others are wanted no longer.
    ///
    /// - Returns: nodes that are to be asked.
    func note(_ lost: [(pack: PackID, node: NodeID)], now: Timestamp) -> Set<NodeID> {
        book.withLock { book in
            let before = book.packs
            book.packs = Dictionary(
                lost.map { ($0.pack, before[$0.pack] ?? Wanted(node: $0.node)) },
                uniquingKeysWith: { first, _ in first })
            return Set(book.packs.values.filter { $0.isDue(now) }.map(\.node))
        }
    }

    /// What the node is asked for now.
    func take(of node: NodeID, now: Timestamp) -> [PackID] {
        book.withLock { book in
            let due = book.packs.filter { $0.value.node == node && $0.value.isDue(now) }.keys.sorted()
                .prefix(Self.mostAtOnce)
            for pack in due {
                book.packs[pack]?.askedAt = now
                if book.packs[pack]?.wantedSince == nil { book.packs[pack]?.wantedSince = now }
            }
            return Array(due)
        }
    }

    /// The same of nodes whose key records are lost now.
    func note(keysOf nodes: [NodeID], now: Timestamp) -> Set<NodeID> {
        book.withLock { book in
            let before = book.keys
            book.keys = Dictionary(
                nodes.map { ($0, before[$0] ?? Wanted(node: $0)) }, uniquingKeysWith: { first, _ in first })
            return Set(book.keys.values.filter { $0.isDue(now, every: Self.keysEvery) }.map(\.node))
        }
    }

    /// Whether the node is asked for its key record now.
    func takeKeys(of node: NodeID, now: Timestamp) -> Bool {
        book.withLock { book in
            guard book.keys[node]?.isDue(now, every: Self.keysEvery) == true else { return false }
            book.keys[node]?.askedAt = now
            return true
        }
    }

    /// Whether to have a snapshot of the database made that takes the place of the pack: its node was asked in vain.
    func isSnapshotDue(of database: DatabaseID, without pack: PackID, now: Timestamp) -> Bool {
        book.withLock { book in
            guard let since = book.packs[pack]?.wantedSince, now - since >= Self.patience else { return false }
            return Self.begin(database, now, in: &book)
        }
    }

    /// The same where there is nobody to ask before.
    func isSnapshotDue(of database: DatabaseID, now: Timestamp) -> Bool {
        book.withLock { Self.begin(database, now, in: &$0) }
    }

    /// The snapshots could not be asked for after all.
    func forget(snapshotsOf databases: some Sequence<DatabaseID>) {
        book.withLock { book in
            for database in databases { book.snapshots[database] = nil }
        }
    }

    private static func begin(_ database: DatabaseID, _ now: Timestamp, in book: inout Book) -> Bool {
        if let last = book.snapshots[database], last <= now, now - last < snapshotEvery { return false }
        book.snapshots[database] = now
        return true
    }
}
