import Glibc
import MusterSQLite

/// Runs one statement list a line from standard input and answers on standard output: rows, tab-separated, then
/// `ok` or `error REASON`. `.close` closes the database and `.open` opens it again.
enum Shell {
    static func run(path: String) throws {
        var session: Session? = try Session(path)
        reply("ok")
        while let line = readLine() {
            switch line {
            case ".close": session = nil
            case ".open": session = try Session(path)
            default:
                reply(session?.answer(line) ?? "error the database is closed")
                continue
            }
            reply("ok")
        }
    }

    private static func reply(_ text: String) {
        print(text)
        fflush(nil)
    }

    private final class Session {
        private let connection: SQLiteConnection

        init(_ path: String) throws {
            connection = try SQLiteConnection(path: path, access: .readWrite, busyTimeoutMilliseconds: 10_000)
        }

        func answer(_ sql: String) -> String {
            do {
                if sql.hasPrefix("SELECT") || sql.hasPrefix("PRAGMA") {
                    let lines = try connection.rows(sql).map { row in row.map(Self.text).joined(separator: "\t") }
                    return (lines + ["ok"]).joined(separator: "\n")
                }
                try connection.execute(sql)
                return "ok"
            } catch {
                return "error \(error.reason)"
            }
        }

        private static func text(_ value: SQLiteValue) -> String {
            switch value {
            case .null: "NULL"
            case .integer(let number): "\(number)"
            case .real(let number): "\(number)"
            case .text(let text): text
            case .blob(let bytes): "\(bytes.count) bytes"
            }
        }
    }
}
