import MusterFormat
import MusterModel
import MusterSQLite

extension SourceInventory {
    /// What the capture saw, in the words of the manifest.
    init(_ inventory: SQLiteInventory) {
        self.init(
            userVersion: inventory.userVersion, applicationID: UInt32(bitPattern: inventory.applicationID),
            schemaHash: inventory.canonicalSchema.map { SHA256Hasher.hash($0) }, journalMode: inventory.journalMode,
            autoVacuum: Self.autoVacuum(inventory.autoVacuum), encoding: Self.encoding(inventory.encoding),
            writerVersion: inventory.lastWriterVersion ?? 0,
            tables: inventory.tables.map { Table(name: $0.name, rowEstimate: UInt64(max(0, $0.estimatedRows ?? 0))) })
    }

    private static func autoVacuum(_ mode: SQLiteInventory.AutoVacuum) -> UInt32 {
        switch mode {
        case .none: 0
        case .full: 1
        case .incremental: 2
        }
    }

    private static func encoding(_ name: String) -> UInt32 {
        switch name {
        case "UTF-8": 1
        case "UTF-16le": 2
        case "UTF-16be": 3
        default: 0
        }
    }
}
