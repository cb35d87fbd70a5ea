import Synchronization

/// A bounded queue of bytes between the loop's thread and one reader.
final class BodyStream: Sendable {
    private struct State {
        var head: HTTPHead?
        var chunks: [[UInt8]] = []
        var byteCount = 0
        /// libcurl was told to stop reading and must be told to go on.
        var isPaused = false
        var outcome: Result<Void, TransferError>?
        var waiter: CheckedContinuation<Void, Never>?
        var peakByteCount = 0

        mutating func takeWaiter() -> CheckedContinuation<Void, Never>? {
            defer { waiter = nil }
            return waiter
        }
    }

    private let state = Mutex(State())
    private let capacityBytes: Int
    private let resume: @Sendable () -> Void
    let cancel: @Sendable () -> Void

    init(capacityBytes: Int, resume: @escaping @Sendable () -> Void, cancel: @escaping @Sendable () -> Void) {
        (self.capacityBytes, self.resume, self.cancel) = (capacityBytes, resume, cancel)
    }

    /// The most bytes that ever waited here.
    var peakByteCount: Int { state.withLock { $0.peakByteCount } }

    // MARK: The loop's side

    func deliver(_ head: HTTPHead) {
        let waiter = state.withLock { state in
            state.head = head
            return state.takeWaiter()
        }
        waiter?.resume()
    }

    /// - Returns: false if there is no room: libcurl keeps these bytes and delivers them after `resume`.
    func push(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let chunk = unsafe Array(bytes)
        let (isTaken, waiter) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
            guard state.chunks.isEmpty || state.byteCount + chunk.count <= capacityBytes else {
                state.isPaused = true
                return (false, nil)
            }
            state.chunks.append(chunk)
            state.byteCount += chunk.count
            state.peakByteCount = max(state.peakByteCount, state.byteCount)
            return (true, state.takeWaiter())
        }
        waiter?.resume()
        return isTaken
    }

    func finish(_ outcome: Result<Void, TransferError>) {
        let waiter = state.withLock { state in
            if state.outcome == nil { state.outcome = outcome }
            return state.takeWaiter()
        }
        waiter?.resume()
    }

    // MARK: The reader's side

    func waitForHead() async throws(TransferError) -> HTTPHead {
        while true {
            let (head, outcome) = state.withLock { ($0.head, $0.outcome) }
            if let head { return head }
            // The loop delivers a head before it reports success.
            if case .failure(let error) = outcome { throw error }
            await waitForNews { $0.head != nil }
        }
    }

    /// - Returns: nil at the end of a whole body.
    func next() async throws(TransferError) -> [UInt8]? {
        while true {
            let (chunk, outcome, mustResume) = takeChunk()
            if mustResume { resume() }
            if let chunk { return chunk }
            if let outcome {
                try outcome.get()
                return nil
            }
            await waitForNews { !$0.chunks.isEmpty }
        }
    }

    private func takeChunk() -> (chunk: [UInt8]?, outcome: Result<Void, TransferError>?, mustResume: Bool) {
        state.withLock { state in
            guard !state.chunks.isEmpty else { return (nil, state.outcome, false) }
            let chunk = state.chunks.removeFirst()
            state.byteCount -= chunk.count
            let mustResume = state.isPaused && state.byteCount <= capacityBytes / 2
            if mustResume { state.isPaused = false }
            return (chunk, nil, mustResume)
        }
    }

    private func waitForNews(_ isThere: @Sendable (borrowing State) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isNow = state.withLock { state in
                    precondition(state.waiter == nil, "a download has one reader")
                    if isThere(state) || state.outcome != nil { return true }
                    state.waiter = continuation
                    return false
                }
                if isNow { continuation.resume() }
            }
        } onCancel: {
            cancel()
        }
    }
}
