import Crypto
import MusterModel
import MusterTransfer
import Synchronization

/// Gathers an object in a file without a name, and sends it when it is committed.
final class NodeObjectWriter: ObjectWriter {
    private struct State {
        /// nil once the writer is closed.
        var file: SpoolFile?
        var byteCount: UInt64 = 0
        var hasher = SHA256()
    }

    private static let comparedBytes = 1 << 20

    private let store: NodeStore
    /// Locked on the spool's own threads only, for as long as a call to the disk takes.
    private let state: Mutex<State>

    init(store: NodeStore, file: SpoolFile) {
        self.store = store
        state = Mutex(State(file: file))
    }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) {
        try await store.spool.run { [self] in
            try state.withLock { state in
                guard let file = state.file else { throw closed }
                state.file = nil
                let end = state.byteCount + UInt64(bytes.count)
                guard end <= UInt64(NodeStoreWire.maximumObjectBytes) else {
                    throw StoreError.tooLarge(
                        store: store.name, object: "(not yet committed)", byteCount: end,
                        limitBytes: UInt64(NodeStoreWire.maximumObjectBytes))
                }
                try file.descriptor.write(bytes, at: state.byteCount)
                state.hasher.update(data: bytes)
                (state.file, state.byteCount) = (file, end)
            }
        }
    }

    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] {
        guard UInt64(range.count) <= StoreLimit.readBytes else {
            throw .tooLarge(
                store: store.name, object: "(not yet committed)", byteCount: UInt64(range.count),
                limitBytes: StoreLimit.readBytes)
        }
        return try await store.spool.run { [self] in
            guard let file = state.withLock({ $0.file }) else { throw closed }
            let bytes = try file.descriptor.read(range)
            guard bytes.count == range.count else {
                throw StoreError.tooShort(
                    store: store.name, object: "(not yet committed)",
                    byteCount: range.lowerBound + UInt64(bytes.count), neededBytes: range.upperBound)
            }
            return bytes
        }
    }

    func commit(as name: ObjectName) async throws(StoreError) {
        guard let spooled = take() else { throw closed }
        let attempts = Attempts()
        var request = store.connection.request(.put, name)
        request.headers[NodeStoreWire.hashHeader] = Hex.encode(spooled.hash)
        request.body = .source(
            RequestSource(byteCount: Int(spooled.byteCount)) { range in
                if range.lowerBound == 0, !range.isEmpty { attempts.beginBody() }
                // The request ends with an error of its own where this cannot be read.
                return try? spooled.file.descriptor.read(UInt64(range.lowerBound)..<UInt64(range.upperBound))
            })
        let answer = try await store.connection.ask(request, about: name, attempts)
        if answer.status == 409, attempts.mayHaveSucceeded, try await isStored(spooled, as: name) { return }
        try store.connection.require(201, answer, about: name)
    }

    func abort() async { _ = take() }

    private struct Spooled: Sendable {
        let file: SpoolFile
        let byteCount: UInt64
        let hash: [UInt8]
    }

    private func take() -> Spooled? {
        state.withLock { state in
            guard let file = state.file else { return nil }
            state.file = nil
            return Spooled(file: file, byteCount: state.byteCount, hash: Array(state.hasher.finalize()))
        }
    }

    /// Whether what stands under the name is what this writer sent.
    private func isStored(_ spooled: Spooled, as name: ObjectName) async throws(StoreError) -> Bool {
        guard try await store.byteCount(of: name) == spooled.byteCount else { return false }
        var offset: UInt64 = 0
        while offset < spooled.byteCount {
            let range = offset..<min(offset + UInt64(Self.comparedBytes), spooled.byteCount)
            let theirs = try await store.read(name, range: range)
            let ours = try await store.spool.run { try spooled.file.descriptor.read(range) }
            guard ours == theirs else { return false }
            offset = range.upperBound
        }
        return true
    }

    private var closed: StoreError { .writerClosed(store: store.name) }
}
