import MusterModel

/// How the pages say what state databases are in.
extension ProvenState {
    var title: String { PageText.title(rawValue) }

    var meaning: String {
        switch self {
        case .failing: "a snapshot is damaged, or none can be taken"
        case .stale: "changes without a receipt, or a silent node"
        case .never: "no snapshot yet"
        case .unproven: "received, not rebuilt within 7 days"
        case .proven: "rebuilt and checked within 7 days"
        case .removed: "protected no more"
        }
    }

    /// The colour is never the only difference.
    var tone: PageParts.Tone {
        switch self {
        case .failing: .bad
        case .stale: .warning
        case .never, .removed: .idle
        case .unproven: .calm
        case .proven: .good
        }
    }
}

extension StateCounts {
    /// `3 failing, 40 proven`.
    var text: String {
        let parts = ProvenState.protected.filter { self[$0] > 0 }
            .map { "\(PageText.grouped(self[$0])) \($0.rawValue)" }
        return parts.isEmpty ? "no databases" : parts.joined(separator: ", ")
    }
}
