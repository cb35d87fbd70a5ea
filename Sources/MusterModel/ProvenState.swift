/// What is known of a database's snapshots coming back: the one word that pages and metrics have for it.
///
/// The words are a contract: addresses of pages and labels of metrics go by them.
package enum ProvenState: String, CaseIterable, Comparable, Sendable {
    // The worst first.
    /// A failure of one of its snapshots stands, or none can be taken.
    case failing
    /// Changes are without a receipt for too long, or its node is silent.
    case stale
    /// It has no snapshot.
    case never
    /// It has snapshots, and none was rebuilt lately.
    case unproven
    /// A snapshot of it was rebuilt and checked lately.
    case proven
    /// Its node protects it no more.
    case removed

    /// An inspection that is older proves no more.
    package static let proofLifetime = Duration.seconds(7 * 86_400)
    /// Those of databases that are protected.
    package static let protected = allCases.filter { $0 != .removed }

    /// What the word is made from.
    package struct Facts: Hashable, Sendable {
        package var isRemoved = false
        package var isDamaged = false
        /// Its node tries, and fails, or never can.
        package var isFailing = false
        package var isStuck = false
        package var isSilent = false
        package var hasSnapshot = false
        /// A snapshot was verified or drilled within `proofLifetime`.
        package var isProofFresh = false

        package init() {}
    }

    package init(_ facts: Facts) {
        self =
            if facts.isRemoved {
                .removed
            } else if facts.isDamaged || facts.isFailing {
                .failing
            } else if facts.isSilent || facts.isStuck {
                .stale
            } else if !facts.hasSnapshot {
                .never
            } else {
                facts.isProofFresh ? .proven : .unproven
            }
    }

    package static func < (a: Self, b: Self) -> Bool { a.rank < b.rank }

    /// From 0, the worst, on.
    fileprivate var rank: Int {
        switch self {
        case .failing: 0
        case .stale: 1
        case .never: 2
        case .unproven: 3
        case .proven: 4
        case .removed: 5
        }
    }
}

/// How many databases are in each state.
package struct StateCounts: Hashable, Sendable {
    private var counts = Array(repeating: 0, count: ProvenState.allCases.count)

    package init() {}

    package subscript(_ state: ProvenState) -> Int {
        get { counts[state.rank] }
        set { counts[state.rank] = newValue }
    }

    package mutating func add(_ other: StateCounts) {
        for index in counts.indices { counts[index] += other.counts[index] }
    }

    /// Of those that are protected.
    package var total: Int { ProvenState.protected.reduce(0) { $0 + self[$1] } }

    /// nil where nothing is protected.
    package var worst: ProvenState? { ProvenState.protected.first { self[$0] > 0 } }
}
