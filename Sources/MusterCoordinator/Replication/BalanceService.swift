import Logging
import MusterModel
import ServiceLifecycle

/// Empties places that the placement does not name any more, at a bounded rate; and beside that, which may take days,
/// forgets what was in lost stores.
///
/// What is left to do is read from the catalog, so it goes on after a restart. A place of which nothing could be given
/// up, or that failed, is left alone for a while, ever longer, and keeps no other waiting.
struct BalanceService: Service {
    private static let patience = Duration.seconds(15)
    private static let firstPause = Duration.seconds(30)
    private static let longestPause = Duration.seconds(3600)
    /// In all stores together.
    private static let objectsPerSecond = 200

    struct Rest {
        var until: Timestamp
        var pause: Duration
    }

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await forgetLost() }
            group.addTask { await balance() }
        }
    }

    /// Until this is done what no store has any more counts as kept.
    private func forgetLost() async {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            await rounds.wait(true, after: 0, atMost: Self.patience)
            do {
                while !Task.isShuttingDownGracefully, !Task.isCancelled, coordinator.succession.successor == nil {
                    guard try await coordinator.forgetLostReplicas() else { break }
                }
            } catch {
                coordinator.logger.warning("lost replicas not forgotten yet", metadata: ["reason": "\(error)"])
            }
        }
    }

    private func balance() async {
        let pace = CopyPace(bytesPerSecond: Self.objectsPerSecond, clock: coordinator.clock)
        var rests: [Coordinator.SurplusPlace: Rest] = [:]
        var places = ""
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            await rounds.wait(true, after: 0, atMost: Self.patience)
            if Task.isShuttingDownGracefully || Task.isCancelled { return }
            if places != coordinator.stores.places { (places, rests) = (coordinator.stores.places, [:]) }
            do {
                try await balance(&rests, pace)
            } catch is CancellationError {
                return
            } catch {
                coordinator.logger.warning("surplus replicas kept", metadata: ["reason": "\(error)"])
            }
        }
    }

    /// - Returns: how many replicas were given up; 0 where that failed.
    private func giveUp(_ place: Coordinator.SurplusPlace, _ pace: CopyPace) async throws -> Int {
        do {
            return try await coordinator.giveUpSurplus(place, pace: pace)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            let store = coordinator.stores[place.store]?.name ?? "\(place.store)"
            coordinator.logger.warning(
                "surplus replicas kept",
                metadata: ["store": "\(store)", "node": "\(place.node)", "reason": "\(error)"])
            return 0
        }
    }

    func balance(_ rests: inout [Coordinator.SurplusPlace: Rest], _ pace: CopyPace) async throws {
        guard coordinator.succession.successor == nil else { return }
        let surplus = try await coordinator.surplusPlaces()
        let known = Set(surplus)
        rests = rests.filter { known.contains($0.key) }
        for place in surplus {
            let now = coordinator.clock.now()
            let rest = rests[place]
            // A clock that was set back must not put it off.
            if let rest, now < rest.until, rest.until - now <= rest.pause { continue }
            if try await giveUp(place, pace) > 0 {
                rests[place] = nil
            } else {
                let pause = min(rest.map { $0.pause * 2 } ?? Self.firstPause, Self.longestPause)
                rests[place] = Rest(until: now + pause, pause: pause)
            }
        }
    }
}
