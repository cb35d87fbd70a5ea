import Foundation
import MusterSQLite
import Testing

extension EndToEnd {
    @Suite("A point in time")
    struct MomentTests {
        @Test func isTheNewestStateAtOrBeforeIt() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            for _ in 1...2 {
                try SampleDatabase.grow(source)
                try await node.snapshot()
            }
            let snapshots = try await fleet.snapshots()
            try #require(snapshots.count == 3)
            for origin in [[], ["--store", fleet.store.url.path()]] {
                for (index, snapshot) in snapshots.enumerated() {
                    // It was captured then, and its receipt came later.
                    #expect(snapshot["created_at"].text < snapshot["received_at"].text)
                    // The first of a database counts from its receipt.
                    let isFirst = index + 1 == snapshots.count
                    let moment = isFirst ? "received_at" : "created_at"
                    for time in [moment, "received_at"] {
                        let found = try await restored(at: snapshot[time].text, origin, fleet)
                        #expect(found == snapshot["id"], "\(origin) \(time) of \(index)")
                    }
                    let before = try await restored(at: Self.justBefore(snapshot[moment].text), origin, fleet)
                    #expect(before == (isFirst ? nil : snapshots[index + 1]["id"]), "\(origin)")
                }
            }
        }

        /// - Returns: nil where there is none.
        private func restored(at time: String, _ origin: [String], _ fleet: Fleet) async throws -> JSON? {
            let recovery = ["--recovery-key", fleet.coordinatorDirectory + "/recovery-key.txt"]
            let outcome = try await fleet.run(
                [
                    "restore", "--node", "berlin", "--database", "shop", "--at", time, "--dry-run", "--format", "json",
                    "--to", fleet.path("target.db"),
                ] + recovery + origin)
            if outcome.status == 3 { return nil }
            try #require(outcome.status == 0, "\(outcome.errors)")
            return try outcome.json["snapshot"]
        }

        /// A microsecond earlier, by the digits: the times have six of them or fewer.
        private static func justBefore(_ time: String) throws -> String {
            let parts = time.dropLast().split(separator: ".")
            let fraction = parts.count == 2 ? parts[1] + String(repeating: "0", count: 6 - parts[1].count) : "000000"
            let count = try #require(Int(fraction))
            try #require(count > 0, "once in a million runs")
            let digits = String(count - 1)
            return "\(parts[0]).\(String(repeating: "0", count: 6 - digits.count))\(digits)Z"
        }
    }
}
