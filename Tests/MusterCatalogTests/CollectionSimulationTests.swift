import Foundation
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("gc beside everything else")
struct CollectionSimulationTests {
    /// These are few, for a machine that runs all tests at once. `MUSTER_GC_INTERLEAVINGS` asks for more of them,
    /// `MUSTER_GC_SEED` for others.
    @Test func deletesNothingThatIsNeededAndLeavesNoGarbage() async throws {
        let environment = ProcessInfo.processInfo.environment
        let count = environment["MUSTER_GC_INTERLEAVINGS"].flatMap { Int($0) } ?? 20
        let seed = environment["MUSTER_GC_SEED"].flatMap { UInt64($0) } ?? 1
        print("gc: \(count) interleavings from seed \(seed)")
        var number = 0
        while number < count {
            // Heads stay for ever: a new catalog now and then keeps the steps quick.
            let fixture = try await Fixture(isDurable: false)
            let others = [
                try await fixture.catalog.add(store: "other", url: "file:///b", at: fixture.clock.now()),
                try await fixture.catalog.add(store: "third", url: "file:///c", at: fixture.clock.now()),
            ]
            for _ in 0..<min(500, count - number) {
                let own = seed &+ UInt64(number) &* 0x1_0001
                // What another simulation left behind is nobody's here.
                let simulation = try CollectionSimulation(
                    fixture, stores: [fixture.store.number] + others.map(\.number),
                    node: try await fixture.makeNode("node \(number)", hasKeys: false), seed: own)
                do {
                    try await simulation.run(steps: 90)
                } catch {
                    print(simulation.trace.joined(separator: "\n"))
                    Issue.record("seed \(own), interleaving \(number): \(error)")
                    return
                }
                number += 1
            }
            try await fixture.catalog.close()
        }
    }
}
