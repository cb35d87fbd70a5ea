import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel

/// Several stores read without a coordinator: what one has lost or damaged, another may have.
struct StoresOrigin: SnapshotOrigin {
    private let origins: [StoreOrigin]

    /// A store that cannot be read is said, and the others go on.
    init(_ places: [String], _ s3: S3Options) async throws {
        var origins: [StoreOrigin] = []
        var failure: (any Error)?
        for place in places {
            do {
                origins.append(try await StoreOrigin(place, s3))
            } catch {
                Self.tell(error)
                failure = failure ?? error
            }
        }
        if origins.isEmpty, let failure { throw failure }
        self.origins = origins
    }

    var source: any SnapshotSource { StoresSource(origins.map(\.listing)) }

    func snapshot(_ id: String) async throws -> Muster_V1_Snapshot {
        let (found, failure) = try await fromEach { origin -> Muster_V1_Snapshot? in
            do { return try await origin.snapshot(id) } catch is NamedThingMissing { return nil }
        }
        guard Set(found.map(\.id)).count < 2 else { throw AmbiguousSnapshot(id: id) }
        if let first = found.first { return first }
        throw failure
            ?? NamedThingMissing(
                summary: "no snapshot '\(id)' in \(source.name)",
                hint: "Look at what there is with 'muster snapshot list --store'.")
    }

    func newest(node: String, database: String, until: Timestamp?) async throws -> Muster_V1_Snapshot? {
        let (found, failure) = try await fromEach { origin in
            try await origin.newest(node: node, database: database, until: until)
        }
        // One that this cannot be said of may have a newer one.
        if let failure { Self.tell(failure) }
        guard let newest = found.newest() else {
            if let failure { throw failure }
            return nil
        }
        return newest
    }

    /// The first that is whole: whether it is the node's is for whoever opens it to see.
    func keyRecord(of node: NodeID) async throws -> [UInt8] {
        let (found, failure) = try await fromEach { origin -> [UInt8]? in
            let bytes = try await origin.keyRecord(of: node)
            _ = try KeyRecord.verified(bytes)
            return bytes
        }
        if let first = found.first { return first }
        throw failure ?? StoreEmpty(name: source.name)
    }

    /// Would take reading every manifest: nobody is named.
    func snapshots(needing pack: PackID) async -> PackUsers { PackUsers(isComplete: false) }

    /// What the stores say, and the first failure of one of them.
    private func fromEach<Value>(
        _ ask: (StoreOrigin) async throws -> Value?
    ) async throws -> (found: [Value], failure: (any Error)?) {
        var found: [Value] = []
        var failure: (any Error)?
        for origin in origins {
            do {
                if let value = try await ask(origin) { found.append(value) }
            } catch let error as AmbiguousSnapshot {
                throw error
            } catch {
                failure = failure ?? error
            }
        }
        return (found, failure)
    }

    private static func tell(_ error: any Error) {
        Console.note("note: a store was left out: \((error as? any ActionableError)?.summary ?? "\(error)")")
    }
}

private struct StoreEmpty: ActionableError {
    let name: String
    var summary: String { "there is nothing in \(name)" }
    var hint: String { "Check that these are stores of the fleet." }
    var isTransient: Bool { false }
}
