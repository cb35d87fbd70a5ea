/// Up to where a WAL was followed: the last commit of it that was seen.
struct WALPosition: Equatable {
    /// The generation of the WAL.
    var salt: [UInt8]
    /// 0: none of this generation yet.
    var frame: UInt32
    /// The running checksum at that frame.
    var sum: WALChecksum
    /// The count of commits that the wal-index gave with it.
    var changeCount: UInt32
    /// False where the wal-index may have been made anew since, so that its count began again.
    var isCountKnown: Bool
    /// The size of the database at that commit.
    var pageCount: UInt32
}
