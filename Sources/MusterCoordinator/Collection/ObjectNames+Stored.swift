import MusterCatalog
import MusterStore

extension ObjectNames {
    /// As the layout of a store has them.
    static let stored = ObjectNames(
        pack: { id, generation in Generation(generation).map { ObjectName.pack(id, $0).description } },
        manifest: { place, generation in
            Generation(generation).map { ObjectName.manifest(SnapshotPlace(place), $0).description }
        },
        receipt: { place, generation in
            Generation(generation).map { ObjectName.receipt(SnapshotPlace(place), $0).description }
        })
}

extension SnapshotPlace {
    fileprivate init(_ place: ObjectNames.Place) {
        self.init(
            database: place.database, lineage: place.lineage, sequence: place.sequence, snapshot: place.snapshot)
    }
}
