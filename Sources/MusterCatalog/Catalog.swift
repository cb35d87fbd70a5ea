import Foundation
import GRDB
import MusterModel

/// The coordinator's catalog: one SQLite file that knows who, what, where and proven when.
///
/// It is an index. The truth is in the stores, and it can be rebuilt from them; so nothing
/// here may be the only copy of anything but work under way (jobs, tokens, runs).
///
/// - One writer, many readers: GRDB's pool holds one writing connection and lets readers
///   see the last commit (WAL). A writing method happens as a whole or not at all, and it returns only
///   after it is durable (`synchronous=FULL`, asserted when a connection opens:
///   with NORMAL a power cut loses acknowledged commits). Those that come together share what that costs: `SharedWriter`.
/// - Every question has an index; `ListTests` holds them to that.
/// - This is the only target with SQL on the catalog. Values go in and out as plain structs.
/// - It reads no clock and draws no chance: times, ids and hashes are given by the caller.
package struct Catalog: Sendable {
    /// How long packs that arrived but were not committed answer the missing-chunk question,
    /// and how long an answer holds.
    package static let leaseDuration = Duration.seconds(24 * 3600)

    let pool: DatabasePool
    private let writer: SharedWriter
    let names: ObjectNames
    let sha256: @Sendable ([UInt8]) -> [UInt8]

    /// Opens the catalog at `path`, making or migrating it if need be.
    ///
    /// Blocks while migrations run.
    /// - Parameters:
    ///   - names: how the objects are called that gc gives up.
    ///   - isDurable: false only in tests of many steps, which lose no power.
    ///   - sha256: the hash that chains the audit.
    package init(
        path: String, names: ObjectNames, isDurable: Bool = true, sha256: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) throws(CatalogError) {
        (self.names, self.sha256) = (names, sha256)
        do {
            pool = try DatabasePool(path: path, configuration: Self.configuration(isDurable: isDurable))
            try Self.migrator().migrate(pool)
            writer = SharedWriter(pool)
        } catch {
            throw CatalogError(error)
        }
    }

    /// Waits for the statements under way and closes the file; later calls fail.
    package func close() async throws(CatalogError) {
        let pool = self.pool
        try await Self.onItsOwnThread { try pool.close() }
    }

    private static func configuration(isDurable: Bool) -> Configuration {
        var configuration = Configuration()
        configuration.label = "muster-catalog"
        configuration.maximumReaderCount = 4
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            try database.execute(
                sql: """
                    PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;
                    PRAGMA cache_size = -8192
                    """)
            guard isDurable else { return try database.execute(sql: "PRAGMA synchronous = OFF") }
            guard try Int.fetchOne(database, sql: "PRAGMA synchronous") == 2 else {
                throw CatalogError.unusable(reason: "synchronous=FULL was not accepted")
            }
        }
        return configuration
    }

    /// Brings a catalog of an earlier version to this one's tables.
    static func migrate(_ path: String) throws {
        let queue = try DatabaseQueue(path: path)
        try migrator().migrate(queue)
        try queue.close()
    }

    /// Each step runs under the foreign keys. One that makes a table anew which others refer to cannot: it has to have
    /// them off meanwhile, and all of them checked after it (sqlite.org/lang_altertable.html, 7), which takes a minute
    /// and more with a million snapshots.
    static func migrator() -> DatabaseMigrator {
        var migrator = DatabaseMigrator()
        func step(_ name: String, _ sql: String) {
            migrator.registerMigration(name, foreignKeyChecks: .immediate) { try $0.execute(sql: sql) }
        }
        step("v1", Schema.version1.joined(separator: "\n"))
        step("store identity", Schema.storeIdentity)
        step("restore grant", Schema.restoreGrant)
        step("growth", Schema.growth)
        step("hand-outs", Schema.handOuts)
        step("old-work", Schema.oldWork)
        step("undeletable objects", Schema.undeletable)
        step("own objects", Schema.ownObjects)
        step("journal mode", Schema.journalMode)
        step("wanting records", Schema.wanting)
        step("re-reading", Schema.rereading)
        step("filling fleet snapshots", Schema.fleetFilling)
        step("awaited schedules", Schema.awaitedSchedules)
        step("drills compared", Schema.drillsCompared)
        step("refused replicas", Schema.refusedReplicas)
        step("orders taken back", Schema.restoreCancelling)
        step("bytes of nodes", Schema.nodeBytes)
        step("looks at the fleet", Schema.fleetLooks)
        return migrator
    }

    /// Runs `body` as a whole or not at all, and returns after it is durable.
    func write<Value: Sendable>(
        _ body: @escaping @Sendable (GRDB.Database) throws -> Value
    ) async throws(CatalogError) -> Value {
        do { return try await writer.write(body) } catch { throw CatalogError(error) }
    }

    /// Writes `body` along with the next write; see `SharedWriter.note`.
    func note(_ body: @escaping @Sendable (GRDB.Database) throws -> Void) { writer.note(body) }

    /// Runs `body` on one consistent view of the last commit.
    func read<Value: Sendable>(
        _ body: @escaping @Sendable (GRDB.Database) throws -> Value
    ) async throws(CatalogError) -> Value {
        do { return try await pool.read(body) } catch { throw CatalogError(error) }
    }
}
