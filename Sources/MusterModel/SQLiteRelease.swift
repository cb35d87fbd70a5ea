/// A release of SQLite by its number, as a database's header names who wrote it last: 3.51.3 is 3051003.
package struct SQLiteRelease: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let number: UInt32

    package init(_ number: UInt32) { self.number = number }

    /// Two connections that write and checkpoint at the same moment can corrupt a WAL database:
    /// 3.7.0 to 3.51.2, but for the fixed 3.44.6 and 3.50.7 (sqlite.org/wal.html#walresetbug).
    package var hasWALResetBug: Bool {
        switch number {
        case 3_044_006..<3_045_000, 3_050_007..<3_051_000: false
        case 3_007_000...3_051_002: true
        default: false
        }
    }

    package var description: String { "\(number / 1_000_000).\(number / 1000 % 1000).\(number % 1000)" }

    package static func < (a: Self, b: Self) -> Bool { a.number < b.number }
}
