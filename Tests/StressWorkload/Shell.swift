import CSQLite
import Glibc

#if DEBUG
    @testable import MusterSQLite
#else
    import MusterSQLite
#endif

/// Runs one statement list a line from standard input and answers on standard output: rows, tab-separated, then
/// `ok` or `error REASON`. `.close` closes the database and `.open` opens it again; `without-psow SQL`
/// runs SQL on a connection that takes care of disks which damage bytes around those they write.
enum Shell {
    static func run(path: String) throws {
        var session: Session? = try Session(path)
        reply("ok")
        while let line = readLine() {
            switch line {
            case ".close": session = nil
            case ".open": session = try Session(path)
            case _ where line.hasPrefix("without-psow "):
                reply(runWithoutPowerSafeOverwrite(path, String(line.dropFirst(13))))
                continue
            default:
                reply(session?.answer(line) ?? "error the database is closed")
                continue
            }
            reply("ok")
        }
    }

    private static func runWithoutPowerSafeOverwrite(_ path: String, _ sql: String) -> String {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI
        var code = sqlite3_open_v2("file:\(path)?psow=0", &opened, flags, nil)
        if code == SQLITE_OK { code = sqlite3_exec(opened, sql, nil, nil, nil) }
        let closed = sqlite3_close(opened)
        return code == SQLITE_OK && closed == SQLITE_OK ? "ok" : "error \(code), \(closed)"
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
