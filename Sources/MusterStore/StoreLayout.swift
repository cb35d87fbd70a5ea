package import MusterModel

/// Where a snapshot stands in its database's history; part of the names of its manifest and its receipt.
package struct SnapshotPlace: Hashable, Sendable {
    package let database: DatabaseID
    package let lineage: LineageID
    package let sequence: UInt64
    package let snapshot: SnapshotID

    package init(database: DatabaseID, lineage: LineageID, sequence: UInt64, snapshot: SnapshotID) {
        (self.database, self.lineage, self.sequence, self.snapshot) = (database, lineage, sequence, snapshot)
    }
}

/// What the coordinator keeps in each store for the day it is rebuilt.
package enum CoordinatorRecord: String, Sendable, CaseIterable {
    case authorityKey = "authority-key"
    case receiptKey = "receipt-key"
    case storeCredentials = "store-credentials"
}

package enum ProbeKind {}
/// One run of `StoreProbe`; part of the names that it uses.
package typealias ProbeID = Identifier<ProbeKind>

/// What an object is, as its name tells: the store's layout in one place.
package enum StoredItem: Hashable, Sendable {
    case format
    case pack(PackID, Generation)
    case manifest(SnapshotPlace, Generation)
    case receipt(SnapshotPlace, Generation)
    case nodeKeys(NodeID, epoch: UInt32, Generation)
    case coordinatorRecord(CoordinatorRecord, Generation)
    /// Has no generation: as an object is written once, only one coordinator can take an epoch.
    case coordinatorEpoch(UInt64)
    /// Has no generation either: the number grows with each record.
    case coordinatorState(epoch: UInt64, number: UInt64)
    case catalogPack(PackID, Generation)
    /// The manifest of a backup of the catalog. As it is written once, it has no generation.
    case catalogBackup(epoch: UInt64, number: UInt64)
    /// Made and removed by a probe; nothing refers to it.
    case probe(ProbeID, UInt64)

    package var name: ObjectName { ObjectName(trusted: text) }

    private var text: String {
        switch self {
        case .format: "format.json"
        case .pack(let id, let generation): "packs/\(id.description.prefix(2))/\(id).\(generation)"
        case .manifest(let place, let generation): "manifests/\(place.path).\(generation)"
        case .receipt(let place, let generation): "receipts/\(place.path).\(generation)"
        case .nodeKeys(let node, let epoch, let generation): "nodes/\(node)/keys-\(epoch).\(generation)"
        case .coordinatorRecord(let record, let generation): "coordinator/\(record.rawValue).\(generation)"
        case .coordinatorEpoch(let epoch): "coordinator/epoch/\(epoch.twentyDigits)"
        case .coordinatorState(let epoch, let number):
            "coordinator/state/\(epoch.twentyDigits)-\(number.twentyDigits)"
        case .catalogPack(let id, let generation): "catalog/packs/\(id).\(generation)"
        case .catalogBackup(let epoch, let number):
            "catalog/backups/\(epoch.twentyDigits)-\(number.twentyDigits)"
        case .probe(let id, let number): "probe/\(id)/\(number)"
        }
    }

    /// - Returns: nil for a name that the layout does not know.
    package init?(_ name: ObjectName) {
        let segments = name.segments
        let parts = (segments.last ?? "").split(separator: ".", omittingEmptySubsequences: false)
        let generation = parts.count == 2 ? Generation(parts[1]) : nil
        guard let item = Self.parse(segments, stem: parts.first ?? "", generation), item.name == name else {
            return nil
        }
        self = item
    }

    /// Reads leniently: the caller compares the name that comes of it.
    private static func parse(_ segments: [Substring], stem: Substring, _ generation: Generation?) -> Self? {
        switch (segments.first, segments.count, generation) {
        case ("format.json", 1, _): return .format
        case ("packs", 3, let generation?): return PackID(stem).map { .pack($0, generation) }
        case ("manifests", 4, let generation?):
            return SnapshotPlace(segments, stem: stem).map { .manifest($0, generation) }
        case ("receipts", 4, let generation?):
            return SnapshotPlace(segments, stem: stem).map { .receipt($0, generation) }
        case ("nodes", 3, let generation?):
            guard let node = NodeID(segments[1]), let epoch = UInt32(stem.dropFirst("keys-".count)) else { return nil }
            return .nodeKeys(node, epoch: epoch, generation)
        case ("coordinator", 2, let generation?):
            return CoordinatorRecord(rawValue: String(stem)).map { .coordinatorRecord($0, generation) }
        case ("probe", 3, nil):
            guard let id = ProbeID(segments[1]), let number = UInt64(stem) else { return nil }
            return .probe(id, number)
        case ("coordinator", 3, nil) where segments[1] == "state":
            return twoNumbers(stem).map { .coordinatorState(epoch: $0, number: $1) }
        case ("catalog", 3, nil) where segments[1] == "backups":
            return twoNumbers(stem).map { .catalogBackup(epoch: $0, number: $1) }
        case ("catalog", 3, let generation?) where segments[1] == "packs":
            return PackID(stem).map { .catalogPack($0, generation) }
        case ("coordinator", 3, nil): return UInt64(stem).map { .coordinatorEpoch($0) }
        default: return nil
        }
    }
}

extension StoredItem {
    private static func twoNumbers(_ stem: Substring) -> (UInt64, UInt64)? {
        let numbers = stem.split(separator: "-", omittingEmptySubsequences: false).map { UInt64($0) }
        guard numbers.count == 2, let first = numbers[0], let second = numbers[1] else { return nil }
        return (first, second)
    }
}

extension SnapshotPlace {
    fileprivate var path: String { "\(database)/\(lineage)/\(sequence.twentyDigits)-\(snapshot)" }

    fileprivate init?(_ segments: [Substring], stem: Substring) {
        let parts = stem.split(separator: "-", omittingEmptySubsequences: false)
        guard segments.count == 4, parts.count == 2, let database = DatabaseID(segments[1]),
            let lineage = LineageID(segments[2]), let sequence = UInt64(parts[0]), let snapshot = SnapshotID(parts[1])
        else { return nil }
        self.init(database: database, lineage: lineage, sequence: sequence, snapshot: snapshot)
    }
}

extension ObjectName {
    package static let format = StoredItem.format.name

    package static func pack(_ id: PackID, _ generation: Generation) -> Self { StoredItem.pack(id, generation).name }

    package static func manifest(_ place: SnapshotPlace, _ generation: Generation) -> Self {
        StoredItem.manifest(place, generation).name
    }

    package static func receipt(_ place: SnapshotPlace, _ generation: Generation) -> Self {
        StoredItem.receipt(place, generation).name
    }

    package static func nodeKeys(_ node: NodeID, epoch: UInt32, _ generation: Generation) -> Self {
        StoredItem.nodeKeys(node, epoch: epoch, generation).name
    }

    package static func coordinatorRecord(_ record: CoordinatorRecord, _ generation: Generation) -> Self {
        StoredItem.coordinatorRecord(record, generation).name
    }

    package static func coordinatorEpoch(_ epoch: UInt64) -> Self { StoredItem.coordinatorEpoch(epoch).name }

    package static func coordinatorState(epoch: UInt64, number: UInt64) -> Self {
        StoredItem.coordinatorState(epoch: epoch, number: number).name
    }

    package static func catalogPack(_ id: PackID, _ generation: Generation) -> Self {
        StoredItem.catalogPack(id, generation).name
    }

    package static func catalogBackup(epoch: UInt64, number: UInt64) -> Self {
        StoredItem.catalogBackup(epoch: epoch, number: number).name
    }

    package static func probe(_ id: ProbeID, _ number: UInt64) -> Self { StoredItem.probe(id, number).name }
}

/// The beginning that listed names share.
package struct ObjectPrefix: Hashable, Sendable, CustomStringConvertible {
    package let description: String

    package static let all = Self(description: "")
    package static let packs = Self(description: "packs/")
    package static let manifests = Self(description: "manifests/")
    package static let receipts = Self(description: "receipts/")
    package static let nodes = Self(description: "nodes/")
    package static let coordinator = Self(description: "coordinator/")
    package static let epochs = Self(description: "coordinator/epoch/")
    package static let states = Self(description: "coordinator/state/")
    package static let catalogBackups = Self(description: "catalog/backups/")
    package static let catalogPacks = Self(description: "catalog/packs/")
    package static let probes = Self(description: "probe/")

    /// - Returns: nil for what no name can begin with, so text of a peer can be passed as it came.
    package init?(_ text: some StringProtocol) {
        let segments = text.split(separator: "/", omittingEmptySubsequences: false)
        guard text.utf8.count <= ObjectName.maximumBytes, segments.count <= ObjectName.maximumSegments,
            segments.dropLast().allSatisfy({ ObjectName.isSegment($0) }),
            segments.last.map({ $0.isEmpty || ObjectName.isSegment($0) }) ?? true,
            segments.first.map({ $0 != ObjectName.reservedSegment }) ?? true
        else { return nil }
        description = String(text)
    }

    private init(description: String) { self.description = description }

    /// Every generation of one pack.
    package static func copies(of pack: PackID) -> Self {
        Self(description: "packs/\(pack.description.prefix(2))/\(pack).")
    }

    package static func manifests(of database: DatabaseID) -> Self { Self(description: "manifests/\(database)/") }
    package static func receipts(of database: DatabaseID) -> Self { Self(description: "receipts/\(database)/") }
    package static func probe(_ id: ProbeID) -> Self { Self(description: "probe/\(id)/") }
    package static func keys(of node: NodeID) -> Self { Self(description: "nodes/\(node)/keys-") }

    /// The folder that holds all names with this prefix, as segments; and what no name in it can lack.
    var folderSegments: [Substring] {
        let end = description.lastIndex(of: "/") ?? description.startIndex
        return description[..<end].split(separator: "/")
    }
}

extension UInt64 {
    /// As many digits as the largest one needs, so that names sort as numbers do.
    fileprivate var twentyDigits: String {
        let digits = String(self)
        return String(repeating: "0", count: 20 - digits.count) + digits
    }
}
