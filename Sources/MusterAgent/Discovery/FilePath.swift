/// A path as the file system compares them: byte by byte, where `String` takes two ways to write "é" for one.
struct FilePath: Hashable, Sendable, Comparable, CustomStringConvertible {
    let description: String

    init(_ text: String) { description = text }

    static func == (a: Self, b: Self) -> Bool { a.description.utf8.elementsEqual(b.description.utf8) }
    static func < (a: Self, b: Self) -> Bool { a.description.utf8.lexicographicallyPrecedes(b.description.utf8) }

    func hash(into hasher: inout Hasher) {
        var text = description
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }

    /// The folder that it is in.
    var folder: String {
        guard let slash = description.lastIndex(of: "/"), slash > description.startIndex else { return "/" }
        return String(description[..<slash])
    }

    /// Files that SQLite keeps beside a database.
    var isBesideADatabase: Bool { Self.suffixes.contains { description.hasSuffix($0) } }

    /// The database that a change of this file tells of; `-shm` tells nothing that `-wal` does not.
    var changedDatabase: FilePath {
        let suffix = ["-wal", "-journal"].first { description.hasSuffix($0) } ?? ""
        return FilePath(String(description.dropLast(suffix.count)))
    }

    private static let suffixes = ["-wal", "-shm", "-journal"]
}
