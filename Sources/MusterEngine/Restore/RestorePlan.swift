package import MusterFormat
package import MusterModel

/// What a restore needs, read from the manifests alone.
package struct RestorePlan: Sendable {
    /// One delta of the base chain.
    struct Delta: Sendable {
        let publicPart: ManifestPublicPart
        let map: ManifestMap
    }

    /// Of the snapshot itself.
    package let publicPart: ManifestPublicPart
    package let sealedPart: ManifestSealedPart
    /// All packs that hold a chunk of the snapshot, or a map chunk of its base chain.
    package let packs: Set<PackID>
    /// The snapshots of the base chain, the full one first and this one last.
    package let chain: [SnapshotID]

    /// The full manifest at the end of the chain, and its groups.
    let full: ManifestPublicPart
    let groups: [MapGroupReference]
    /// From the one after the full manifest to the snapshot itself.
    let deltas: [Delta]
}
