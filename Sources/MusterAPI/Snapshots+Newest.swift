import MusterModel

extension Sequence<Muster_V1_Snapshot> {
    /// The one that was received last; nil where there is none.
    ///
    /// Compared as instants: of two texts, "05.5Z" sorts before "05Z". What is no time is older than any.
    package func newest() -> Muster_V1_Snapshot? {
        map { (snapshot: $0, received: Timestamp($0.receivedAt) ?? Timestamp(microseconds: .min)) }
            .max { $0.received < $1.received }?.snapshot
    }
}
