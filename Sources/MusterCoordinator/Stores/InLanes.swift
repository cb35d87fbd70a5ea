/// Runs `body` for each of them, at most `width` at the same time, and begins them in their order.
///
/// - Parameter goesOn: told how each one came out; once it says no, what is under way ends and nothing else is begun.
func inLanes<Item: Sendable, Outcome: Sendable>(
    _ items: [Item], width: Int, _ body: @escaping @Sendable (Item) async throws -> Outcome,
    goesOn: (Outcome) -> Bool
) async throws {
    try await withThrowingTaskGroup(of: Outcome.self) { group in
        var rest = items[...]
        for item in rest.prefix(width) { group.addTask { try await body(item) } }
        rest = rest.dropFirst(width)
        var isOpen = true
        while let outcome = try await group.next() {
            isOpen = goesOn(outcome) && isOpen
            if isOpen, let item = rest.popFirst() { group.addTask { try await body(item) } }
        }
    }
}
