import Foundation
import MusterSQLite
import Testing

extension EndToEnd {
    /// Ransomware against a real database, and what is only work.
    @Suite struct AnomalyTests {
        private static func kinds(_ fleet: Fleet) async throws -> Set<String> {
            Set(try await fleet.json("alarm", "list").list.map(\.["kind"].text)).intersection(["size", "entropy"])
        }

        /// The alarms that kept everything.
        private static func applied(_ fleet: Fleet) async throws -> [String] {
            try await fleet.json("retention", "apply", "--dry-run").list.map { row in
                row["alarm"] == .null ? "" : row["alarm"].text
            }
        }

        @Test func anEncryptionFreezesRetentionAndOrdinaryWorkDoesNot() async throws {
            let fleet = try await Fleet(settings: "retention_every: never\n")
            let node = try await Node(fleet, "berlin")
            let path = fleet.path("shop.db")
            let application = try SQLiteConnection(path: path, access: .readWrite)
            // About 6 MiB of words, which compress as words do.
            try application.execute(
                """
                PRAGMA journal_mode=wal; CREATE TABLE item(id INTEGER PRIMARY KEY, content TEXT);
                WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 12000)
                INSERT INTO item SELECT id, (SELECT group_concat(printf('word%d ', (id * 7919 + value) % 997), '')
                    FROM (WITH RECURSIVE w(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM w WHERE value < 60)
                        SELECT value FROM w)) FROM n;
                """)
            try await node.add(path)
            try node.start()
            _ = try await fleet.awaitSnapshots(1)

            // Churn, a VACUUM, an import of what does not compress, and one of what does.
            let work = [
                "UPDATE item SET content = content || id WHERE id % 17 = 0",
                "DELETE FROM item WHERE id % 10 = 3",
                "VACUUM",
                "CREATE TABLE picture(content BLOB); "
                    + "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 250) "
                    + "INSERT INTO picture SELECT randomblob(16000) FROM n",
                "INSERT INTO item(content) SELECT content FROM item LIMIT 4000",
                "DROP TABLE picture", "VACUUM",
            ]
            for statements in work {
                try application.execute(statements)
                try await node.snapshot()
                #expect(try await Self.kinds(fleet).isEmpty, "\(statements)")
            }
            let good = try #require(try await fleet.snapshots().first)["id"].text

            try application.execute("UPDATE item SET content = randomblob(length(content))")
            try await node.snapshot()
            #expect(try await Self.kinds(fleet) == ["entropy"])
            #expect(try await fleet.run("status", "--check").output.hasPrefix("MUSTER CRITICAL"))

            // Nothing is given up until a person has looked.
            try await fleet.succeed("retention", "set", "--fleet", "--keep-last", "1", "--min-age", "0h")
            #expect(try await fleet.snapshots().contains { $0["id"].text == good })
            #expect(try await Self.applied(fleet) == ["entropy"])
            try await fleet.succeed("alarm", "clear", "entropy", "--database", "shop")
            #expect(try await Self.kinds(fleet).isEmpty)
            #expect(try await Self.applied(fleet) == [""])
            withExtendedLifetime(application) {}
        }
    }
}
