package import MusterAPI
package import MusterEngine
package import MusterModel

/// The coordinator as the place where a restore reads from.
package struct CoordinatorSource: SnapshotSource {
    private let coordinator: CoordinatorClient
    package let name: String
    /// Under which a node reads what may be another's.
    private let grant: GrantID?

    /// - Parameters:
    ///   - name: how reports call it.
    ///   - grant: of an open restore, under which a node reads what is another's.
    package init(coordinator: CoordinatorClient, name: String = "coordinator", grant: GrantID? = nil) {
        (self.coordinator, self.name, self.grant) = (coordinator, name, grant)
    }

    package func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
        do {
            return replica(try await coordinator.manifest(of: snapshot, after: refused, grant: grant))
        } catch {
            throw unavailable(error) ?? error
        }
    }

    package func read(
        _ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>
    ) async throws -> ReplicaBytes {
        do {
            return replica(try await coordinator.bytes(of: pack, in: range, after: refused, grant: grant))
        } catch {
            throw unavailable(error) ?? error
        }
    }

    private func replica(_ object: StoredBytes) -> ReplicaBytes {
        let reason = "it is missing there, or cannot be read"
        return ReplicaBytes(
            object.bytes, of: object.store,
            passedOver: Dictionary(object.passedOver.map { ($0, reason) }, uniquingKeysWith: { first, _ in first }))
    }

    /// What tells of the object and not of the way to it.
    private func unavailable(_ error: CoordinatorError) -> (any Error)? {
        switch error {
        case .refused(404, let body, _) where body.code == "object_missing":
            ObjectUnavailable(reason: body.summary)
        case .refused(416, _, _): ObjectUnavailable(reason: "it is truncated: it ends before the range that is needed")
        default: nil
        }
    }
}
