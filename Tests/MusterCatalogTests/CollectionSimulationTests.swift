import Foundation
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterCatalog

/// The simulation, and that it sees what it is there for: each rule that `Sabotage` breaks is missed by it.
@Suite("gc beside everything else")
struct CollectionSimulationTests {
    /// These are few, for a machine that runs all tests at once. `MUSTER_GC_INTERLEAVINGS` asks for more of them,
    /// `MUSTER_GC_SEED` for others; what is told of a failure is the seed of its life.
    @Test func deletesNothingThatIsNeededAndLeavesNoGarbage() async throws {
        let environment = ProcessInfo.processInfo.environment
        let count = environment["MUSTER_GC_INTERLEAVINGS"].flatMap { Int($0) } ?? 240
        let seed = environment["MUSTER_GC_SEED"].flatMap { UInt64($0) } ?? 1
        let began = ContinuousClock.now
        let lives = (count + SimulatedLife.interleavings - 1) / SimulatedLife.interleavings
        let failure = try await SimulatedLife.failure(inOneOf: lives, from: seed)
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        print("gc: \(lives * SimulatedLife.interleavings) interleavings from seed \(seed) in \(Int(seconds)) s")
        guard let failure else { return }
        Issue.record("life of seed \(failure.seed), interleaving \(failure.interleaving): \(failure.reason)")
        print(try await SimulatedLife(seed: failure.seed).run(isTold: true)?.trace.joined(separator: "\n") ?? "")
    }

    @Test("sees what is broken", arguments: Sabotage.all)
    func seesWhatIsBroken(sabotage: Sabotage) async throws {
        let failure = try await SimulatedLife.failure(inOneOf: sabotage.lives, from: 1, sabotage)
        #expect(failure != nil, "\(sabotage.lives) lives, and nothing was seen")
    }
}

/// One catalog, one node, three stores, and interleavings one after the other.
struct SimulatedLife {
    static let interleavings = 20
    private static let steps = 90

    struct Failure {
        let seed: UInt64
        let interleaving: Int
        let reason: String
        let trace: [String]
    }

    let seed: UInt64

    /// - Returns: what went wrong first, if anything.
    func run(_ sabotage: Sabotage? = nil, isTold: Bool = false) async throws -> Failure? {
        let fixture = try await Fixture(isDurable: false, names: CollectionSimulation.names)
        var stores = [fixture.store.number]
        for name in ["other", "third"] {
            stores.append(
                try await fixture.catalog.add(store: name, url: "file:///\(name)", at: fixture.clock.now()).number)
        }
        if let sabotage { try await sabotage.begin(in: fixture.catalog) }
        let simulation = try CollectionSimulation(
            fixture, stores: stores, node: try await fixture.makeNode(hasKeys: false), seed: seed, isTold: isTold)
        var failure: Failure?
        for interleaving in 0..<Self.interleavings where failure == nil {
            do {
                try await simulation.run(steps: Self.steps)
            } catch {
                failure = Failure(
                    seed: seed, interleaving: interleaving, reason: "\(error)", trace: simulation.trace)
            }
        }
        try await fixture.catalog.close()
        return failure
    }

    /// Lives beside each other, as many as there are cores.
    static func failure(
        inOneOf count: Int, from seed: UInt64, _ sabotage: Sabotage? = nil
    ) async throws -> Failure? {
        let lives = LifeCounter()
        return try await withThrowingTaskGroup(of: Failure?.self) { group in
            for _ in 0..<min(count, ProcessInfo.processInfo.activeProcessorCount) {
                group.addTask {
                    while let number = lives.next(below: count) {
                        let life = SimulatedLife(seed: seed &+ UInt64(number) &* 0x1_0001)
                        if let failure = try await life.run(sabotage) { return failure }
                    }
                    return nil
                }
            }
            while let ended = try await group.next() {
                guard let ended else { continue }
                lives.stop()
                return ended
            }
            return nil
        }
    }
}

private final class LifeCounter: Sendable {
    private let taken = Mutex(0)

    func next(below count: Int) -> Int? {
        taken.withLock { taken in
            guard taken < count else { return nil }
            defer { taken += 1 }
            return taken
        }
    }

    func stop() { taken.withLock { $0 = Int.max } }
}
