package import MusterModel

/// How stored objects are called: the layout of a store is not the catalog's to know, but what it gives up it names.
package struct ObjectNames: Sendable {
    /// Where a snapshot stands; part of its objects' names.
    package struct Place: Hashable, Sendable {
        package let database: DatabaseID
        package let lineage: LineageID
        package let sequence: UInt64
        package let snapshot: SnapshotID
    }

    /// By generation; nil for one that cannot be.
    let pack: @Sendable (PackID, String) -> String?
    let manifest: @Sendable (Place, String) -> String?
    let receipt: @Sendable (Place, String) -> String?

    package init(
        pack: @escaping @Sendable (PackID, String) -> String?,
        manifest: @escaping @Sendable (Place, String) -> String?,
        receipt: @escaping @Sendable (Place, String) -> String?
    ) {
        (self.pack, self.manifest, self.receipt) = (pack, manifest, receipt)
    }

    func name(ofPack id: PackID, _ generation: String) throws(CatalogError) -> String {
        guard let name = pack(id, generation) else { throw .damaged(column: "generation") }
        return name
    }
}
