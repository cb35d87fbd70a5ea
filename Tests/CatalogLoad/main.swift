/// How a catalog of a large fleet answers, and how it is thinned out.
///
///     catalog-load generate CATALOG NODES SNAPSHOTS PACKS     each node with one database and its share of snapshots,
///                                                             each of which brings so many new packs
///     catalog-load ask CATALOG                                times what lists and status ask
///     catalog-load expire CATALOG                             times retention, then gc with grace 0
///
/// Every row is written by the catalog itself, through the commit that the coordinator uses, so what is measured has
/// the shape of the real thing. Ids are derived from a seed: the same figures give the same catalog.
import Foundation
import MusterCatalog
import MusterModel

let arguments = Array(CommandLine.arguments.dropFirst())
do {
    switch (arguments.first, arguments.count) {
    case ("generate", 5):
        guard let nodes = Int(arguments[2]), let snapshots = Int(arguments[3]), let packs = Int(arguments[4]),
            nodes > 0, snapshots >= nodes, packs > 0
        else { throw Usage() }
        let fleet = SampleFleet(nodeCount: nodes, snapshotsEach: snapshots / nodes, packsEach: packs, end: .now)
        try await fleet.write(to: try Catalog.opened(at: arguments[1]))
    case ("ask", 2): try await Questions(catalog: try Catalog.opened(at: arguments[1]), now: .now).run()
    case ("expire", 2): try await Thinning(catalog: try Catalog.opened(at: arguments[1]), now: .now).run()
    default: throw Usage()
    }
} catch is Usage {
    let usage = "usage: catalog-load generate CATALOG NODES SNAPSHOTS PACKS | ask CATALOG | expire CATALOG\n"
    FileHandle.standardError.write(Data(usage.utf8))
    exit(64)
} catch {
    FileHandle.standardError.write(Data("catalog-load: \(error)\n".utf8))
    exit(1)
}

struct Usage: Error {}
struct Refused: Error { let outcome: String }

extension Timestamp {
    fileprivate static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1e6)) }
}

extension Catalog {
    /// The audit's chain is not what is measured: any hash will do.
    fileprivate static func opened(at path: String) throws -> Catalog {
        // The names of a store's layout, in length if not in letters.
        let names = ObjectNames(
            pack: { "packs/\($0.description.prefix(2))/\($0).\($1)" },
            manifest: { "manifests/\($0.database)/\($0.lineage)/\($0.sequence)-\($0.snapshot).\($1)" },
            receipt: { "receipts/\($0.database)/\($0.lineage)/\($0.sequence)-\($0.snapshot).\($1)" })
        return try Catalog(path: path, names: names) { bytes in
            var state = UInt64(bytes.count)
            for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
            return Array(repeating: UInt8(truncatingIfNeeded: state), count: 32)
        }
    }
}
