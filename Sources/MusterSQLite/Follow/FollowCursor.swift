/// Names one commit of one database to a later `Follower.attach`, which tells whether it saw everything since.
package struct FollowCursor: Sendable, Hashable {
    /// Opaque, but for its first byte: the version.
    package let bytes: [UInt8]

    private static let version: UInt8 = 1
    private static let byteCount = 74

    /// - Returns: nil unless they are a cursor's.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, bytes[0] == Self.version else { return nil }
        self.bytes = bytes
    }

    /// - Parameter file: given only where all of the commit is in the database file, and nobody can have written to
    ///   it since without changing what `stat` says.
    init(_ position: WALPosition, pageSize: Int, identity: FileState.Identity, file: FileState?) {
        var bytes: [UInt8] = [Self.version]
        func append(_ number: some FixedWidthInteger) {
            unsafe withUnsafeBytes(of: number.bigEndian) { unsafe bytes.append(contentsOf: $0) }
        }
        append(identity.device)
        append(identity.inode)
        append(UInt32(pageSize))
        bytes += position.salt
        append(position.frame)
        append(position.sum.first)
        append(position.sum.second)
        append(position.changeCount)
        append(position.pageCount)
        bytes.append(file == nil ? 0 : 1)
        append(file?.sizeBytes ?? 0)
        append(file?.modifiedNanoseconds ?? 0)
        append(file?.changedNanoseconds ?? 0)
        self.bytes = bytes
    }

    /// Of a database that nobody has open: all of it is in its file, and no WAL exists.
    init(closed file: FileState, pageSize: Int, pageCount: UInt64) {
        let position = WALPosition(
            salt: [UInt8](repeating: 0, count: 8), frame: 0, sum: WALChecksum(first: 0, second: 0), changeCount: 0,
            isCountKnown: false, pageCount: UInt32(clamping: pageCount))
        self.init(position, pageSize: pageSize, identity: file.identity, file: file)
    }

    private func number(at offset: Int, count: Int) -> UInt64 {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
    }
    private func word(at offset: Int) -> UInt32 { UInt32(truncatingIfNeeded: number(at: offset, count: 4)) }

    var identity: FileState.Identity {
        FileState.Identity(device: number(at: 1, count: 8), inode: number(at: 9, count: 8))
    }
    var pageSize: Int { Int(word(at: 17)) }

    /// The commit count is not taken as known: the wal-index may have been recovered since.
    var position: WALPosition {
        WALPosition(
            salt: Array(bytes[21..<29]), frame: word(at: 29),
            sum: WALChecksum(first: word(at: 33), second: word(at: 37)), changeCount: word(at: 41),
            isCountKnown: false, pageCount: word(at: 45))
    }

    /// True if the cursor's whole commit is in the database file and the file is untouched since.
    func isWhole(in file: FileState?) -> Bool {
        guard let file, bytes[49] == 1, file.identity == identity else { return false }
        return number(at: 50, count: 8) == file.sizeBytes
            && number(at: 58, count: 8) == UInt64(bitPattern: file.modifiedNanoseconds)
            && number(at: 66, count: 8) == UInt64(bitPattern: file.changedNanoseconds)
    }
}
