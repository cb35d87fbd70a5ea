import Foundation

/// How long many runs of one thing took.
struct Times: CustomStringConvertible {
    private let name: String
    /// What 99 of 100 runs have to stay within; nil where nobody set a limit.
    private let budget: Duration?
    private var milliseconds: [Double] = []

    init(_ name: String, within budget: Duration? = nil) { (self.name, self.budget) = (name, budget) }

    mutating func measure<Value>(_ body: () async throws -> Value) async throws -> Value {
        let began = ContinuousClock.now
        defer { milliseconds.append((ContinuousClock.now - began) / .milliseconds(1)) }
        return try await body()
    }

    private func share(_ percent: Int) -> Double {
        let sorted = milliseconds.sorted()
        return sorted.isEmpty ? 0 : sorted[(sorted.count - 1) * percent / 100]
    }

    var count: Int { milliseconds.count }
    var isWithinBudget: Bool { budget.map { share(99) <= $0 / .milliseconds(1) } ?? true }

    var description: String {
        let limit = budget.map {
            String(format: "%4.0f ms %@", $0 / .milliseconds(1), isWithinBudget ? "kept" : "OVER")
        }
        return name.padding(toLength: 34, withPad: " ", startingAt: 0)
            + String(
                format: "p50 %8.2f   p99 %8.2f   max %8.2f ms   budget %@", share(50), share(99), share(100),
                limit ?? "   none   ")
    }
}
