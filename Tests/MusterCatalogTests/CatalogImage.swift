import GRDB
import MusterModel

@testable import MusterCatalog

/// What the catalog says of one node at a moment: read once, and asked many times.
struct CatalogImage {
    struct Held {
        let generation: String
        let isSound: Bool
        /// Of its manifest and its receipt.
        let names: [String]
    }

    struct Link {
        let number: Int64
        let isForgotten: Bool
        /// By store.
        var places: [Int64: Held] = [:]
    }

    struct Copy {
        let number: Int64
        let store: Int64
        let generation: String
        let isPresent: Bool
        let isCondemned: Bool
        let name: String
    }

    private(set) var snapshots: [SnapshotID: Link] = [:]
    private(set) var packs: [PackID: [Copy]] = [:]
    /// Names of key records, by store.
    private(set) var keys: [Int64: String] = [:]

    init(of node: Catalog.Node, in database: Database) throws {
        let rows = try database.rows(
            """
            SELECT s.id, s.number, s.forgotten_at IS NOT NULL AS forgotten, r.store, r.generation,
                r.receipt_generation, r.state = 'present' AND r.receipt_state = 'present' AS sound
            FROM snapshot s LEFT JOIN manifest_replica r ON r.snapshot = s.number WHERE s.node = ?
            """, [node.id.blob])
        for row in rows {
            let id: SnapshotID = try row.identifier("id")
            var link = snapshots[id] ?? Link(number: row["number"], isForgotten: row["forgotten"])
            if let store: Int64 = row["store"] {
                let (manifest, receipt): (String, String) = (row["generation"], row["receipt_generation"])
                link.places[store] = Held(
                    generation: manifest, isSound: row["sound"],
                    names: ["manifest \(manifest)", "receipt \(receipt)"])
            }
            snapshots[id] = link
        }
        let copies = try database.rows(
            """
            SELECT p.id, p.number, r.store, r.generation, r.state = 'present' AS present,
                p.condemned_at IS NOT NULL AS condemned
            FROM pack p JOIN pack_replica r ON r.pack = p.number WHERE p.scope = ? ORDER BY p.number, r.store
            """, [node.scope.blob])
        for row in copies {
            let generation: String = row["generation"]
            packs[try row.digest("id"), default: []].append(
                Copy(
                    number: row["number"], store: row["store"], generation: generation, isPresent: row["present"],
                    isCondemned: row["condemned"], name: "pack \(generation)"))
        }
        for row in try database.rows("SELECT store, object FROM key_replica WHERE node = ?", [node.id.blob]) {
            keys[row["store"]] = row["object"]
        }
    }
}
