package import MusterModel

/// Where the agent remembers what the newest snapshot of one database is made of.
///
/// It is a cache: if it is gone or older than the head, the next snapshot reads
/// and compares, or sends, everything. Calls block; they are made on threads
/// that may.
package protocol PageLedger: Sendable {
    /// Records of the extents that have one, in no order.
    func extents(_ numbers: [Int]) throws -> [ExtentRecord]

    /// In order.
    func extents(in range: Range<Int>) throws -> [ExtentRecord]

    /// Extents whose chunk lies in the pack, in order.
    func extents(inPack pack: UInt32) throws -> [ExtentRecord]

    /// In order; nil if there are more than `limit`.
    func extents(changedAfter sequence: UInt64, limit: Int) throws -> [ExtentRecord]?

    /// Hashes of the group's extents, in order.
    func extentHashes(ofGroup group: Int) throws -> [ExtentHash]

    /// Adds records that the ledger does not have yet; only while it is built.
    func append(_ records: [ExtentRecord]) throws
}

/// What a snapshot changes in a ledger, to be written in the transaction that settles its receipt.
package struct LedgerChange: Sendable {
    /// As the new snapshot has it, its own manifest among the bases.
    package var state: LedgerState
    /// Numbers of the packs and scatter chunks that differ from what the ledger has.
    package var packs: Set<UInt32>
    package var removedPacks: Set<UInt32>
    package var scatters: Set<UInt32>
    package var removedScatters: Set<UInt32>
    package var extents: [ExtentRecord]
    /// Hashes of the groups that changed.
    package var groups: [Int: [ExtentHash]]
    /// Where the followed capture stands; nil where the next one has to scan.
    package var cursor: [UInt8]?
}
