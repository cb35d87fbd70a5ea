import Foundation
import MusterAgent
import MusterFormat
import MusterModel
import MusterStore

/// Snapshots of joined nodes as a store would hold them, with receipts: written as plain files, as many as are wanted.
struct StoreHistory {
    let directories: [AgentDirectory]
    /// Of all nodes together.
    let count: Int
    /// Of all nodes together; they take turns, so that what belongs together lies far apart.
    let databases: Int
    let receiptKey: SigningKey
    let store: String

    func run() throws {
        let nodes = try directories.map { directory in
            let identity = try NodeIdentity(directory: directory, node: try directory.configuration().nodeID)
            return (identity, ChunkSealer(keys: identity.keys))
        }
        var histories = (0..<databases).map { number in
            let (identity, sealer) = nodes[number % nodes.count]
            return SnapshotHistory(
                identity: identity, sealer: sealer, database: DatabaseID(from: .system), name: "load-\(number)")
        }
        let start = Int64(Date().timeIntervalSince1970 * 1_000_000) - Int64(count) * 1_000_000
        for number in 0..<count {
            let (manifest, pack) = try histories[number % histories.count].next()
            let part = manifest.publicPart
            let place = SnapshotPlace(
                database: part.database, lineage: part.lineage, sequence: part.sequence, snapshot: part.snapshot)
            let receipt = try Receipt(
                manifest: manifest, receivedAt: Timestamp(microseconds: start + Int64(number) * 1_000_000),
                stores: ["main"], coordinatorEpoch: 1
            ).signed(by: receiptKey)
            try write(pack.bytes, .pack(pack.id, Generation(from: .system)))
            try write(manifest.bytes, .manifest(place, Generation(from: .system)))
            try write(receipt, .receipt(place, Generation(from: .system)))
        }
        print("\(count) snapshots of \(histories.count) databases of \(nodes.count) nodes written")
    }

    private func write(_ bytes: [UInt8], _ name: ObjectName) throws {
        let file = URL(filePath: store + "/" + name.description)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: file)
    }
}
