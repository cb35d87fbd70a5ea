package import MusterModel

/// Where a restore reads from: a coordinator, or stores without any coordinator.
///
/// An object may have several replicas, and one that was read and refused is no end while another is good: who refuses
/// it asks again and says so.
package protocol SnapshotSource: Sendable {
    /// For reports: the coordinator's address or the store's name.
    var name: String { get }

    /// - Parameter refused: stores whose replica was read and refused; they are asked last.
    /// - Throws: `ObjectUnavailable` where there is none.
    func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes

    /// The bytes of the range, fewer where the pack is shorter.
    ///
    /// - Parameter refused: as for a manifest.
    /// - Throws: `ObjectUnavailable` where the pack is missing or shorter.
    func read(_ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>) async throws -> ReplicaBytes
}

extension SnapshotSource {
    package func manifest(of snapshot: SnapshotID) async throws -> [UInt8] {
        try await manifest(of: snapshot, after: []).bytes
    }

    package func read(_ pack: PackID, _ range: Range<UInt64>) async throws -> [UInt8] {
        try await read(pack, range, after: []).bytes
    }
}

/// Bytes of an object, and which of its replicas they are from.
package struct ReplicaBytes: Sendable {
    package let bytes: [UInt8]
    /// "" where that is not known: then no other can be asked for.
    package let store: String
    /// Stores that should have given them and could not, with why.
    package let passedOver: [String: String]

    package init(_ bytes: [UInt8], of store: String, passedOver: [String: String] = [:]) {
        (self.bytes, self.store, self.passedOver) = (bytes, store, passedOver)
    }
}

/// An object that a snapshot needs is not there, or not whole.
package struct ObjectUnavailable: Error {
    package let reason: String

    package init(reason: String) { self.reason = reason }
}
