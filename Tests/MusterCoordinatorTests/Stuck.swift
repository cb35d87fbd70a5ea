import Synchronization

/// Where calls hang until the test lets them go, whatever is cancelled meanwhile.
final class Stuck: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func hang() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func letGo() {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            state.isOpen = true
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Where so many wait for each other: it opens once all of them are there.
final class Rendezvous: Sendable {
    private let stuck = Stuck()
    private let missing: Mutex<Int>

    init(of count: Int) { missing = Mutex(count) }

    func meet() async {
        let isLast = missing.withLock { missing in
            missing -= 1
            return missing <= 0
        }
        if isLast { stuck.letGo() }
        await stuck.hang()
    }
}
