import Foundation
import GRDB
import MusterModel

/// Makes a fleet many times as large: the rows of its nodes again, under other ids and at other times.
///
/// To commit a million snapshots one by one takes most of an hour. A copy's ids are the first ones XORed with the same
/// bytes, so they are spread as evenly, and whatever names an id names the copy's. Indexes and triggers are taken away
/// meanwhile and made again by the statements that made them: what comes of it is what the commits would have made.
struct FleetCopies {
    let path: String
    /// In all, with the first one.
    let count: Int
    /// Of the first one.
    let nodeCount: Int
    /// How much later the nodes of each next copy do everything.
    let shift: Duration

    private var firstPath: String { path + ".first" }

    func write() throws {
        let began = ContinuousClock.now
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        defer { try? FileManager.default.removeItem(atPath: firstPath) }  // A leftover is taken away by the next one.
        try queue.writeWithoutTransaction { database in
            // Out of the WAL, so that the copied file is whole.
            try database.execute(sql: "PRAGMA journal_mode = DELETE")
            try? FileManager.default.removeItem(atPath: firstPath)  // It is there after an end in the middle only.
            try FileManager.default.copyItem(atPath: path, toPath: firstPath)
            try database.execute(sql: "PRAGMA journal_mode = OFF")
            try database.execute(sql: "ATTACH ? AS first", arguments: [firstPath])
            let made = try takeAway(["index", "trigger"], in: database)
            for (table, changes) in tables {
                try copy(table, changes, in: database)
                say("\(table) copied", since: began)
            }
            for statement in made { try database.execute(sql: statement) }
            say("indexes made", since: began)
        }
        try queue.close()
    }

    /// Nothing is left where this ends half way: it is a file for a measurement.
    private var configuration: Configuration {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = false
        configuration.prepareDatabase { database in
            try database.execute(
                sql: "PRAGMA synchronous = OFF; PRAGMA cache_size = -1500000; PRAGMA locking_mode = EXCLUSIVE")
            database.add(
                function: DatabaseFunction("other", argumentCount: 2, pure: true) { values in
                    guard let id = Data.fromDatabaseValue(values[0]), let copy = Int.fromDatabaseValue(values[1])
                    else { return nil }
                    return Self.other(id, copy)
                })
        }
        return configuration
    }

    /// - Returns: the statements that make them again, indexes first: with one a trigger finds its rows.
    private func takeAway(_ kinds: [String], in database: Database) throws -> [String] {
        try kinds.flatMap { kind in
            let rows = try Row.fetchAll(
                database, sql: "SELECT name, sql FROM main.sqlite_schema WHERE type = ? AND sql IS NOT NULL",
                arguments: [kind])
            for row in rows { try database.execute(sql: "DROP \(kind) main.\"\(row["name"] as String)\"") }
            return rows.map { $0["sql"] as String }
        }
    }

    /// What is in no column of `changes` stays as it is.
    private func copy(_ table: String, _ changes: [String: String], in database: Database) throws {
        let columns = try String.fetchAll(database, sql: "SELECT name FROM pragma_table_info('\(table)')")
        guard Set(changes.keys).isSubset(of: columns) else { throw Refused(outcome: "\(table) has other columns") }
        let values = columns.map { changes[$0] ?? "\"\($0)\"" }.joined(separator: ", ")
        // Hashes go into a tree that they are the key of in the order of the tree.
        let order = table == "chunk" ? " ORDER BY 1" : ""
        for copy in 1..<count {
            try database.execute(
                sql: "INSERT INTO main.\"\(table)\" SELECT \(values) FROM first.\"\(table)\"\(order)",
                arguments: values.contains(":copy") || values.contains(":later")
                    ? StatementArguments(arguments(of: copy, for: values)) : StatementArguments())
        }
    }

    private func arguments(of copy: Int, for values: String) -> [String: Int64] {
        ["copy": Int64(copy), "later": shift.microseconds * Int64(copy)].filter { values.contains(":\($0.key)") }
    }

    private var tables: [(name: String, changes: [String: String])] {
        func id(_ column: String) -> String { "other(\(column), :copy)" }
        func time(_ column: String) -> String { "\(column) + :later" }
        func number(_ column: String, of table: String) -> String {
            "\(column) + :copy * (SELECT max(number) FROM first.\(table))"
        }
        func ids(_ columns: String...) -> [String: String] {
            Dictionary(uniqueKeysWithValues: columns.map { ($0, id($0)) })
        }
        let (snapshot, pack) = (number("snapshot", of: "snapshot"), number("pack", of: "pack"))
        return [
            (
                "node",
                ids("id", "scope").merging([
                    "number": number("number", of: "node"),
                    "name": "'node-' || (CAST(substr(name, 6) AS INTEGER) + :copy * \(nodeCount))",
                ]) { $1 }
            ),
            ("certificate", ids("fingerprint", "node")), ("token", ids("secret_hash")), ("key_replica", ids("node")),
            (
                "database",
                ids("id", "node", "newest_snapshot").merging([
                    "newest_received_at": time("newest_received_at"), "newest_created_at": time("newest_created_at"),
                ]) { $1 }
            ),
            (
                "lineage",
                ids("id", "database", "head_snapshot", "head_manifest").merging(["started_at": time("started_at")]) {
                    $1
                }
            ),
            (
                "snapshot",
                ids("id", "node", "database", "lineage", "parent", "base", "manifest_hash").merging([
                    "number": number("number", of: "snapshot"), "created_at": time("created_at"),
                    "received_at": time("received_at"), "moment": time("moment"),
                ]) { $1 }
            ),
            ("label", ["snapshot": snapshot]), ("receipt", ["snapshot": snapshot]),
            ("manifest_replica", ["snapshot": snapshot, "hashed_at": time("hashed_at")]),
            (
                "pack",
                ids("id", "scope", "counted_in").merging([
                    "number": number("number", of: "pack"), "received_at": time("received_at"),
                    "leased_until": time("leased_until"),
                ]) { $1 }
            ),
            ("pack_replica", ["pack": pack, "checked_at": time("checked_at"), "hashed_at": time("hashed_at")]),
            ("chunk", ["id": id("id"), "pack": pack]),
            ("pack_reference", ["lineage": id("lineage"), "pack": pack]), ("holding", ids("node")),
        ]
    }

    /// The same for the same copy, and no id stays what it was.
    private static func other(_ id: Data, _ copy: Int) -> Data {
        let word = (UInt64(copy) &* 0x9e37_79b9_7f4a_7c15) | 1
        return Data(id.enumerated().map { $1 ^ UInt8(truncatingIfNeeded: word >> (($0 & 7) * 8)) })
    }

    private func say(_ text: String, since began: ContinuousClock.Instant) {
        let seconds = Int((ContinuousClock.now - began) / .seconds(1))
        FileHandle.standardError.write(Data("\(text) after \(seconds) s\n".utf8))
    }
}
