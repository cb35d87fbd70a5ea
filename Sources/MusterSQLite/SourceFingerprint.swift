import Glibc
package import MusterModel

/// Which file a source is and whether it was written since: cheap to take, never reads more than 200 bytes.
///
/// Two equal fingerprints mean the same content, if the older one `isSettled`
/// or the database is in WAL mode and open: there `commits` counts each commit.
package struct SourceFingerprint: Hashable, Sendable, CustomStringConvertible {
    package let device: UInt64
    package let inode: UInt64
    package let sizeBytes: UInt64
    package let modifiedNanoseconds: Int64
    package let changedNanoseconds: Int64
    /// Bytes 24 to 27 of the header: grows with each commit in rollback modes, seldom in WAL mode.
    package let changeCounter: UInt32
    /// Nil without a `-wal`. Its change time is left out: opening the database sets it.
    package let walSizeBytes: UInt64?
    package let walModifiedNanoseconds: Int64?
    /// Salt, last frame and commit count of the wal-index in hex; "" without one.
    package let commits: String

    /// Takes the fingerprint of a file that is not being captured by this process.
    package static func read(path: String) throws(CaptureError) -> SourceFingerprint {
        let files = try SourceFiles(resolving: path)
        let lease = try CaptureLease(files.state().identity, path: files.path)
        let fingerprint = try SourceFingerprint(files)
        _ = consume lease
        return fingerprint
    }

    /// Call it under a lease and without an open connection: it opens and closes the files.
    init(_ files: SourceFiles) throws(CaptureError) {
        guard let file = OwnDescriptor(reading: files.path) else { throw SourceFiles.refusal(files.path, errno) }
        // The index first: what is committed after that shows as a change next time, never the other way round.
        commits = Self.commits(files)
        let wal = FileState(path: files.walPath)
        guard let state = FileState(descriptor: file.number), let head = file.bytes(at: 24, count: 4) else {
            throw .inputOutput(path: files.path, reason: "its header cannot be read")
        }
        (device, inode) = (state.identity.device, state.identity.inode)
        (sizeBytes, modifiedNanoseconds) = (state.sizeBytes, state.modifiedNanoseconds)
        changedNanoseconds = state.changedNanoseconds
        changeCounter = head.count == 4 ? bigEndian32(head, at: 0) : 0
        (walSizeBytes, walModifiedNanoseconds) = (wal?.sizeBytes, wal?.modifiedNanoseconds)
    }

    /// Bytes 8 to 11 count commits, 16 to 19 are the last frame, 32 to 39 the salt (sqlite.org/walformat.html).
    private static func commits(_ files: SourceFiles) -> String {
        guard let index = OwnDescriptor(reading: files.indexPath), let header = index.bytes(at: 0, count: 48),
            header.count == 48
        else { return "" }
        return Hex.encode(header[8..<12] + header[16..<20] + header[32..<40])
    }

    /// True if every time in it lies at least two seconds before `moment`.
    ///
    /// File systems stamp in steps of milliseconds (FAT: two seconds); a write in the same step cannot be seen.
    package func isSettled(at moment: Timestamp) -> Bool {
        let newest = max(modifiedNanoseconds, changedNanoseconds, walModifiedNanoseconds ?? 0)
        return newest / 1000 < moment.microseconds - 2_000_000
    }
}

extension SourceFingerprint: Codable {
    package var description: String {
        let numbers: [String] = [
            "1", "\(device)", "\(inode)", "\(sizeBytes)", "\(modifiedNanoseconds)", "\(changedNanoseconds)",
            "\(changeCounter)", walSizeBytes.map(String.init) ?? "-", walModifiedNanoseconds.map(String.init) ?? "-",
        ]
        return (numbers + [commits]).joined(separator: ":")
    }

    /// - Returns: nil unless `text` is a fingerprint's description.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 10, parts[0] == "1", let device = UInt64(parts[1]), let inode = UInt64(parts[2]),
            let size = UInt64(parts[3]), let modified = Int64(parts[4]), let changed = Int64(parts[5]),
            let counter = UInt32(parts[6]), (parts[7] == "-") == (parts[8] == "-"),
            parts[7] == "-" || UInt64(parts[7]) != nil && Int64(parts[8]) != nil, Hex.decode(parts[9]) != nil
        else { return nil }
        (self.device, self.inode, sizeBytes) = (device, inode, size)
        (modifiedNanoseconds, changedNanoseconds, changeCounter) = (modified, changed, counter)
        (walSizeBytes, walModifiedNanoseconds, commits) = (UInt64(parts[7]), Int64(parts[8]), parts[9])
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Self(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a source fingerprint")
        }
        self = value
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
