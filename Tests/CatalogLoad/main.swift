/// How a catalog of a large fleet answers, and how it is thinned out.
///
///     catalog-load generate CATALOG NODES SNAPSHOTS PACKS     each node with one database and its share of snapshots,
///                                                             each of which brings so many new packs
///     catalog-load ask CATALOG                                times what lists and status ask
///     catalog-load expire CATALOG [SECONDS]                   times retention, then gc with grace 0; each phase takes
///                                                             so long at most, a minute if nothing is said
///
/// 10,000 nodes, 1,000,000 snapshots and 10 packs a snapshot are the fleet that the budgets are for. The rows of a part
/// of the nodes are written by the catalog itself, through the commit that the coordinator uses, and the others are
/// copies of them: what is measured has the shape of the real thing. Ids are derived from a seed: the same figures
/// give the same catalog. Exit: 0 done, 1 failed, 2 a budget was not kept, 64 usage.
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
        try await generate(nodes, snapshots / nodes, packs, at: arguments[1])
    case ("ask", 2):
        if try await !Questions(catalog: try Catalog.opened(at: arguments[1]), now: .now).run() { exit(2) }
    case ("expire", 2), ("expire", 3):
        guard let seconds = arguments.count == 3 ? Int(arguments[2]) : 60 else { throw Usage() }
        let thinning = Thinning(catalog: try Catalog.opened(at: arguments[1]), now: .now, time: .seconds(seconds))
        if try await !thinning.run() { exit(2) }
    default: throw Usage()
    }
} catch is Usage {
    let usage = "usage: catalog-load generate CATALOG NODES SNAPSHOTS PACKS | ask CATALOG | expire CATALOG [SECONDS]\n"
    FileHandle.standardError.write(Data(usage.utf8))
    exit(64)
} catch {
    FileHandle.standardError.write(Data("catalog-load: \(error)\n".utf8))
    exit(1)
}

/// A twentieth of the nodes commits, where that divides them; the others are copies.
func generate(_ nodes: Int, _ snapshotsEach: Int, _ packsEach: Int, at path: String) async throws {
    let copies = (1...20).last { nodes % $0 == 0 } ?? 1
    let fleet = SampleFleet(
        nodeCount: nodes / copies, nodesInAll: nodes, snapshotsEach: snapshotsEach, packsEach: packsEach, end: .now)
    try await fleet.write(to: try Catalog.opened(at: path, isDurable: false))
    try FleetCopies(
        path: path, count: copies, nodeCount: fleet.nodeCount, shift: SampleFleet.day / copies
    ).write()
}

struct Usage: Error {}
struct Refused: Error { let outcome: String }

extension Timestamp {
    fileprivate static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1e6)) }
}

extension Catalog {
    /// The audit's chain is not what is measured: any hash will do.
    fileprivate static func opened(at path: String, isDurable: Bool = true) throws -> Catalog {
        // The names of a store's layout, in length if not in letters.
        let names = ObjectNames(
            pack: { "packs/\($0.description.prefix(2))/\($0).\($1)" },
            manifest: { "manifests/\($0.database)/\($0.lineage)/\($0.sequence)-\($0.snapshot).\($1)" },
            receipt: { "receipts/\($0.database)/\($0.lineage)/\($0.sequence)-\($0.snapshot).\($1)" })
        return try Catalog(path: path, names: names, isDurable: isDurable) { bytes in
            var state = UInt64(bytes.count)
            for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
            return Array(repeating: UInt8(truncatingIfNeeded: state), count: 32)
        }
    }
}
