import Synchronization

/// How fast each store is read in the background: the scrub and whoever else wants copies proven share one pace.
final class ReadingPaces: Sendable {
    private let paces = Mutex<[Int64: CopyPace]>([:])

    func pace(of store: Int64, _ make: () -> CopyPace) -> CopyPace {
        paces.withLock { paces in
            let pace = paces[store] ?? make()
            paces[store] = pace
            return pace
        }
    }
}

extension Coordinator {
    func readingPace(of store: OpenStore) -> CopyPace {
        readingPaces.pace(of: store.number) {
            CopyPace(bytesPerSecond: settings.scrub.mibPerSecond << 20, clock: clock)
        }
    }
}
