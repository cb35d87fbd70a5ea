package import MusterModel

/// Where a restore reads from: a coordinator, or one store without any coordinator.
package protocol SnapshotSource: Sendable {
    /// For reports: the coordinator's address or the store's name.
    var name: String { get }

    /// - Throws: `ObjectUnavailable` where there is none.
    func manifest(of snapshot: SnapshotID) async throws -> [UInt8]

    /// Exactly the bytes of the range.
    ///
    /// - Throws: `ObjectUnavailable` where the pack is missing or shorter.
    func read(_ pack: PackID, _ range: Range<UInt64>) async throws -> [UInt8]
}

/// An object that a snapshot needs is not there, or not whole.
package struct ObjectUnavailable: Error {
    package let reason: String

    package init(reason: String) { self.reason = reason }
}
