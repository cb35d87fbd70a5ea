package import MusterModel

/// Several stores read without any coordinator: each object from the first one that has it and was not refused.
package struct StoresSource: SnapshotSource {
    private let sources: [StoreSource]

    package init(_ sources: [StoreSource]) { self.sources = sources }

    package var name: String { sources.map(\.name).joined(separator: ", ") }

    package func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
        try await first(after: refused) { try await $0.manifest(of: snapshot) }
    }

    package func read(
        _ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>
    ) async throws -> ReplicaBytes {
        try await first(after: refused) { try await $0.read(pack, range) }
    }

    private func first(
        after refused: Set<String>, _ read: (StoreSource) async throws -> [UInt8]
    ) async throws -> ReplicaBytes {
        var (unanswered, unavailable): ((any Error)?, (any Error)?)
        var passedOver: [String: String] = [:]
        let ordered =
            sources.filter { !refused.contains($0.name) } + sources.filter { refused.contains($0.name) }
        for source in ordered {
            do {
                return ReplicaBytes(try await read(source), of: source.name, passedOver: passedOver)
            } catch let error as CancellationError {
                throw error
            } catch let error as ObjectUnavailable {
                passedOver[source.name] = error.reason
                unavailable = unavailable ?? error
            } catch {
                unanswered = unanswered ?? error
            }
        }
        // A store that did not answer may have it: the object is not missing before all have said so.
        throw unanswered ?? unavailable ?? ObjectUnavailable(reason: "it is in none of the stores")
    }
}
