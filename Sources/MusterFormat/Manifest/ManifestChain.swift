/// Which manifests a delta manifest rests on.
package enum ManifestChain {
    /// The most manifests from a full one to the one that is restored, both counted: no writer comes
    /// near it, and a reader stops there.
    package static let maximumLength = 64

    /// The sequence that the map of snapshot `sequence` is a change of: the distance from the newest full
    /// manifest without its lowest set bit, so that a chain is at most log2 of that distance long.
    package static func baseSequence(of sequence: UInt64, lastFull: UInt64) -> UInt64 {
        precondition(sequence > lastFull, "a full manifest has no base")
        let distance = sequence - lastFull
        return lastFull + (distance & (distance - 1))
    }
}
