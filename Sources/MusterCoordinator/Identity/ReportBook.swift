import MusterModel
import Synchronization

/// How far each node's reports are known: what stands in the catalog is vouched for by the newest report, even where
/// that was a delta that did not name it.
///
/// Kept in memory only: after a restart each node is asked for one full report.
final class ReportBook: Sendable {
    struct Standing: Hashable {
        var life: String
        var number: UInt64
        /// By our clock.
        var at: Timestamp
        /// How long it may take until the next one.
        var period: Duration
    }

    enum Place: Hashable {
        /// It follows what is known, or says everything.
        case next
        /// Something between it and what is known is missing.
        case gap
        /// A later one was here already.
        case late
    }

    private let standings = Mutex<[NodeID: Standing]>([:])

    /// Where a report has its place; the same report again is the next one too.
    func place(of number: UInt64, life: String, isDelta: Bool, from node: NodeID) -> Place {
        let standing = standings.withLock { $0[node] }
        guard let standing, standing.life == life else { return isDelta ? .gap : .next }
        if !life.isEmpty, number < standing.number { return .late }
        return !isDelta || number == standing.number || number == standing.number + 1 ? .next : .gap
    }

    /// What the report says is in the catalog now.
    func take(_ standing: Standing, from node: NodeID) { standings.withLock { $0[node] = standing } }

    /// Nothing is known of the node until its next full report.
    func lose(_ node: NodeID) { standings.withLock { $0[node] = nil } }

    func standing(of node: NodeID) -> Standing? { standings.withLock { $0[node] } }
}
