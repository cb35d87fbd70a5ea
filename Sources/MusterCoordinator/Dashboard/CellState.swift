import MusterCatalog
import MusterModel

/// What is known of a database's snapshots coming back: the one word that the fleet's page has for it.
enum CellState: Int, CaseIterable, Comparable, Sendable {
    // The worst first.
    case failing, stale, never, unproven, proven

    /// An inspection that is older proves no more.
    static let proofLifetime = Duration.seconds(7 * 86_400)

    static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// - Parameter isDamaged: a failure of one of its snapshots stands.
    init(_ database: Catalog.Database, _ freshness: Freshness, of node: NodeSilence, isDamaged: Bool, now: Timestamp) {
        if isDamaged || database.state == "failing" || database.state == "unsupported" {
            self = .failing
        } else if node.since != nil || freshness.stuckSince != nil {
            self = .stale
        } else if database.newestSnapshot == nil {
            self = .never
        } else if let verified = database.verifiedAt, now - verified <= Self.proofLifetime {
            self = .proven
        } else {
            self = .unproven
        }
    }

    init?(word: String) {
        guard let state = Self.allCases.first(where: { $0.word == word }) else { return nil }
        self = state
    }

    /// As in addresses and in the stylesheet.
    var word: String {
        switch self {
        case .failing: "failing"
        case .stale: "stale"
        case .never: "never"
        case .unproven: "unproven"
        case .proven: "proven"
        }
    }

    var title: String {
        switch self {
        case .failing: "Failing"
        case .stale: "Stale"
        case .never: "Never"
        case .unproven: "Unproven"
        case .proven: "Proven"
        }
    }

    var meaning: String {
        switch self {
        case .failing: "a snapshot is damaged, or none can be taken"
        case .stale: "changes without a receipt, or a silent node"
        case .never: "no snapshot yet"
        case .unproven: "received, not rebuilt within 7 days"
        case .proven: "rebuilt and checked within 7 days"
        }
    }

    /// The colour is never the only difference.
    var tone: PageParts.Tone {
        switch self {
        case .failing: .bad
        case .stale: .warning
        case .never: .idle
        case .unproven: .calm
        case .proven: .good
        }
    }
}

/// How many databases are in each state.
struct StateCounts: Hashable, Sendable {
    private var counts = Array(repeating: 0, count: CellState.allCases.count)

    subscript(_ state: CellState) -> Int { counts[state.rawValue] }

    mutating func add(_ state: CellState) { counts[state.rawValue] += 1 }

    mutating func add(_ other: StateCounts) {
        for index in counts.indices { counts[index] += other.counts[index] }
    }

    var total: Int { counts.reduce(0, +) }

    /// nil where there is none.
    var worst: CellState? { CellState.allCases.first { self[$0] > 0 } }

    /// `3 failing, 40 proven`.
    var text: String {
        let parts = CellState.allCases.filter { self[$0] > 0 }
            .map { "\(PageText.grouped(self[$0])) \($0.word)" }
        return parts.isEmpty ? "no databases" : parts.joined(separator: ", ")
    }
}
