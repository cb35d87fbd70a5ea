import Logging
import MusterCatalog
import MusterModel
import MusterStore
import ServiceLifecycle

/// Reads again what readers refused: what is bad is marked, and so repaired, without a scrub having to come to it.
///
/// A reader's word says where to look, and never what is found.
struct SuspicionService: Service {
    private static let patience = Duration.seconds(60)

    let coordinator: Coordinator

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.doubted.ticket(true)
            while !Task.isShuttingDownGracefully, !Task.isCancelled, let next = coordinator.suspicions.next() {
                do {
                    try await coordinator.look(into: next)
                } catch {
                    // It says nothing of the replica; whoever meets it again says so again.
                    coordinator.logger.warning("replica not read again", metadata: ["reason": "\(error)"])
                }
            }
            await coordinator.doubted.wait(true, after: ticket, atMost: Self.patience)
        }
    }
}

extension Coordinator {
    func suspect(_ suspicion: Suspicion, by reader: String) async {
        if suspicions.add(suspicion, by: reader, now: clock.now()) { await doubted.ring(true) }
    }

    func look(into suspicion: Suspicion) async throws {
        guard succession.successor == nil else { return }
        switch suspicion {
        case .pack(let pack, let number):
            let replicas = try await catalog.copies(ofPack: pack)?.replicas ?? []
            guard let store = stores[number], !store.isAway,
                let replica = replicas.first(where: { $0.store == number }), replica.state == .present
            else { return }
            await readingPace(of: store).spend(Int(replica.sizeBytes))
            _ = try await inspect(replica, in: store, isHashed: true)
        case .snapshot(let id, let number):
            guard let store = stores[number], !store.isAway, let snapshot = try await catalog.snapshot(id),
                snapshot.replicas.contains(where: { $0.store == number })
            else { return }
            await readingPace(of: store).spend(Int(snapshot.manifestBytes))
            try await inspectRecords(of: snapshot, in: store)
        }
        suspicions.conclude(suspicion, now: clock.now())
    }
}
