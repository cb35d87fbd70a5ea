import Foundation
import GRDB
import MusterEngine
import MusterFormat
import MusterModel

extension LedgerChange {
    /// Writes it into the settling transaction: the ledger then describes the snapshot of `manifest`.
    func write(
        to ledger: LedgerStore, of database: DatabaseID, manifest: ManifestHash, in db: GRDB.Database
    ) throws {
        let number = ledger.number
        try writeHeader(number, database, manifest, in: db)
        try LedgerStore.write(extents, to: number, in: db)
        try db.execute(
            sql: "DELETE FROM ledger_extent WHERE ledger = ? AND extent >= ?",
            arguments: [number, state.geometry.extentCount])
        try db.execute(
            sql: "DELETE FROM ledger_group WHERE ledger = ? AND number >= ?",
            arguments: [number, state.geometry.groupCount])
        for (group, hashes) in groups {
            try db.execute(
                sql: "INSERT OR REPLACE INTO ledger_group VALUES (?, ?, ?)",
                arguments: [number, group, Hashes.encode(hashes)])
        }
        try writePacks(number, in: db)
        try writeScatters(number, in: db)
        try db.execute(sql: "DELETE FROM ledger_base WHERE ledger = ?", arguments: [number])
        for base in state.bases {
            try db.execute(
                sql: "INSERT INTO ledger_base VALUES (?, ?, ?, ?, ?)",
                arguments: [
                    number, Int64(base.sequence), base.snapshot.blob, base.manifestHash.blob, base.mapBytes,
                ])
        }
    }

    private func writeHeader(
        _ number: Int64, _ database: DatabaseID, _ manifest: ManifestHash, in db: GRDB.Database
    ) throws {
        try db.execute(
            sql: "UPDATE ledger SET state = 'dropped' WHERE database = ? AND number != ?",
            arguments: [database.blob, number])
        try db.execute(
            sql: """
                UPDATE ledger SET state = 'current', manifest_hash = ?, cursor = ?, page_size = ?,
                    pages_per_extent = ?, page_count = ?, sequence = ?, last_full = ?, full_map_bytes = ?,
                    next_pack = ?, next_scatter = ?, group_hashes = ?
                WHERE number = ?
                """,
            arguments: [
                manifest.blob, cursor.map { Data($0) }, state.geometry.pageSize, state.geometry.pagesPerExtent,
                Int64(state.geometry.pageCount), Int64(state.sequence), Int64(state.lastFull), state.fullMapBytes,
                Int64(state.nextPack), Int64(state.nextScatter), Hashes.encode(state.groups), number,
            ])
        guard db.changesCount == 1 else { throw LedgerError.damaged("it is gone") }
    }

    private func writePacks(_ number: Int64, in db: GRDB.Database) throws {
        for pack in removedPacks {
            try db.execute(
                sql: "DELETE FROM ledger_pack WHERE ledger = ? AND number = ?", arguments: [number, Int64(pack)])
        }
        for pack in packs.compactMap({ state.packs[$0] }) {
            try db.execute(
                sql: "INSERT OR REPLACE INTO ledger_pack VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    number, Int64(pack.number), pack.id.blob, pack.byteCount, pack.liveBytes, pack.mapBytes,
                    Int64(pack.born), pack.died.map { Int64($0) },
                ])
        }
    }

    private func writeScatters(_ number: Int64, in db: GRDB.Database) throws {
        for scatter in removedScatters {
            try db.execute(
                sql: "DELETE FROM ledger_scatter WHERE ledger = ? AND number = ?", arguments: [number, Int64(scatter)])
        }
        for scatter in scatters.compactMap({ state.scatters[$0] }) {
            try db.execute(
                sql: "INSERT OR REPLACE INTO ledger_scatter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    number, Int64(scatter.number), Int64(scatter.listed), scatter.kind == .difference,
                    Int64(scatter.pack), scatter.offset, scatter.byteCount, scatter.plainByteCount,
                    scatter.chunk.blob, Numbers.encode(scatter.pages),
                    Numbers.encode(scatter.dead.lazy.map { UInt32($0) }),
                ])
        }
    }
}

extension LedgerState {
    init(row: Row, _ number: Int64, in db: GRDB.Database) throws {
        let geometry = DatabaseGeometry(
            pageSize: row["page_size"], pagesPerExtent: row["pages_per_extent"],
            pageCount: UInt64(clamping: row["page_count"] as Int64))
        guard let geometry else { throw LedgerError.damaged("no database has its shape") }
        self.init(
            geometry: geometry, sequence: UInt64(clamping: row["sequence"] as Int64),
            lastFull: UInt64(clamping: row["last_full"] as Int64))
        fullMapBytes = row["full_map_bytes"]
        nextPack = UInt32(clamping: row["next_pack"] as Int64)
        nextScatter = UInt32(clamping: row["next_scatter"] as Int64)
        groups = try Hashes.decode(row["group_hashes"], "group_hashes")
        for row in try Row.fetchAll(db, sql: "SELECT * FROM ledger_pack WHERE ledger = ?", arguments: [number]) {
            let pack = try LedgerPack(row: row)
            packs[pack.number] = pack
        }
        for row in try Row.fetchAll(db, sql: "SELECT * FROM ledger_scatter WHERE ledger = ?", arguments: [number]) {
            let scatter = try LedgerScatter(row: row)
            scatters[scatter.number] = scatter
        }
        bases = try Row.fetchAll(
            db, sql: "SELECT * FROM ledger_base WHERE ledger = ? ORDER BY sequence", arguments: [number]
        ).map { row in
            ChainBase(
                sequence: UInt64(clamping: row["sequence"] as Int64), snapshot: try row.identifier("snapshot"),
                manifestHash: try row.digest("manifest_hash"), mapBytes: row["map_bytes"])
        }
    }
}

extension LedgerPack {
    fileprivate init(row: Row) throws {
        self.init(
            number: UInt32(clamping: row["number"] as Int64), id: try row.digest("id"), byteCount: row["bytes"],
            born: UInt64(clamping: row["born"] as Int64))
        (liveBytes, mapBytes) = (row["live_bytes"], row["map_bytes"])
        died = (row["died"] as Int64?).map { UInt64(clamping: $0) }
    }
}

extension LedgerScatter {
    fileprivate init(row: Row) throws {
        self.init(
            number: UInt32(clamping: row["number"] as Int64), listed: UInt64(clamping: row["listed"] as Int64),
            kind: row["is_difference"] ? .difference : .scatter, pack: UInt32(clamping: row["pack"] as Int64),
            offset: row["offset"], byteCount: row["bytes"], plainByteCount: row["plain_bytes"],
            chunk: try row.digest("chunk"), pages: try Numbers.decode(row["pages"], "pages"))
        dead = try Numbers.decode(row["dead"], "dead").map(Int.init)
    }
}
