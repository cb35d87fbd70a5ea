import MusterModel

/// Databases by the time at which they are due, the first one in front: a binary heap.
///
/// One that is put in again, or leaves, is not looked for: its old ticket is void, and thrown away when it comes up.
struct DueQueue {
    struct Ticket: Comparable {
        let dueAt: Timestamp
        let database: DatabaseID
        let number: UInt64

        static func < (a: Self, b: Self) -> Bool { (a.dueAt, a.database) < (b.dueAt, b.database) }
    }

    private var tickets: [Ticket] = []

    var first: Ticket? { tickets.first }
    var count: Int { tickets.count }

    init(_ tickets: [Ticket] = []) {
        // Sorted, it is a heap.
        self.tickets = tickets.sorted()
    }

    mutating func insert(_ ticket: Ticket) {
        tickets.append(ticket)
        var child = tickets.count - 1
        while child > 0, tickets[child] < tickets[(child - 1) / 2] {
            tickets.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func popFirst() -> Ticket? {
        guard let last = tickets.popLast() else { return nil }
        guard let first = tickets.first else { return last }
        tickets[0] = last
        var parent = 0
        while let child = lesserChild(of: parent), tickets[child] < tickets[parent] {
            tickets.swapAt(child, parent)
            parent = child
        }
        return first
    }

    private func lesserChild(of parent: Int) -> Int? {
        let (left, right) = (2 * parent + 1, 2 * parent + 2)
        guard left < tickets.count else { return nil }
        return right < tickets.count && tickets[right] < tickets[left] ? right : left
    }
}
