import MusterModel
import MusterStore

/// A store that a rebuild reads.
struct RebuildStore: Sendable {
    let name: String
    let url: String
    let store: any Store
    let identity: StoreID?
    /// In the new catalog.
    let number: Int64
}

/// What a rebuild could not use. The rest goes on without it.
package struct RebuildFinding: Hashable, Sendable {
    package let store: String
    package let object: String
    package let reason: String
}

/// Findings so far; the first of them by name, all of them by number.
struct RebuildFindings: Sendable {
    static let named = 1000

    private(set) var list: [RebuildFinding] = []
    private(set) var count = 0

    mutating func add(_ object: String, in store: String, _ reason: String) {
        let finding = RebuildFinding(store: store, object: object, reason: reason)
        if list.count < Self.named {
            // Several steps may meet the same object.
            guard !list.contains(where: { $0.object == object && $0.store == store }) else { return }
            list.append(finding)
        }
        count += 1
    }

    mutating func add(_ others: RebuildFindings) {
        for finding in others.list { add(finding.object, in: finding.store, finding.reason) }
        count += others.count - others.list.count
    }
}

extension Store {
    /// Reads an object that may be damaged or gone: that is a finding. A store that is away ends the rebuild.
    func readForRebuild(
        _ name: ObjectName, maximumBytes: Int, _ findings: inout RebuildFindings
    ) async throws -> [UInt8]? {
        do {
            return try await read(name, maximumBytes: maximumBytes)
        } catch  where !error.meansAbsence {
            findings.add(name.description, in: self.name, error.summary)
            return nil
        }
    }
}

/// The words for whatever went wrong with one object.
func reasonText(_ error: any Error) -> String { (error as? any ActionableError)?.summary ?? "\(error)" }
