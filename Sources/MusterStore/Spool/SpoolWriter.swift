import Crypto
import MusterModel
import MusterTransfer
import Synchronization

/// Gathers an object in a file without a name; what `take` returns is then sent.
final class SpoolWriter: Sendable {
    private struct State {
        /// nil once the writer is closed.
        var file: SpoolFile?
        var byteCount: UInt64 = 0
        var hasher = SHA256()
    }

    private let spool: SpoolFolder
    private let store: String
    private let maximumBytes: UInt64
    /// Locked on the spool's own threads only, for as long as a call to the disk takes.
    private let state: Mutex<State>

    /// - Parameter store: named in errors.
    init(file: SpoolFile, in spool: SpoolFolder, store: String, maximumBytes: UInt64) {
        (self.spool, self.store, self.maximumBytes) = (spool, store, maximumBytes)
        state = Mutex(State(file: file))
    }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) {
        try await spool.run { [self] in
            try state.withLock { state in
                guard let file = state.file else { throw closed }
                state.file = nil
                let end = state.byteCount + UInt64(bytes.count)
                guard end <= maximumBytes else {
                    throw StoreError.tooLarge(
                        store: store, object: "(not yet committed)", byteCount: end, limitBytes: maximumBytes)
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
                store: store, object: "(not yet committed)", byteCount: UInt64(range.count),
                limitBytes: StoreLimit.readBytes)
        }
        return try await spool.run { [self] in
            guard let file = state.withLock({ $0.file }) else { throw closed }
            let bytes = try file.descriptor.read(range)
            guard bytes.count == range.count else {
                throw StoreError.tooShort(
                    store: store, object: "(not yet committed)",
                    byteCount: range.lowerBound + UInt64(bytes.count), neededBytes: range.upperBound)
            }
            return bytes
        }
    }

    /// Closes the writer. - Returns: nil if it was closed before.
    func take() -> SpooledObject? {
        state.withLock { state in
            guard let file = state.file else { return nil }
            state.file = nil
            return SpooledObject(
                file: file, spool: spool, byteCount: state.byteCount, hash: Array(state.hasher.finalize()))
        }
    }

    var closed: StoreError { .writerClosed(store: store) }
}

/// An object that is whole and waits to be sent.
struct SpooledObject: Sendable {
    private static let comparedBytes = 1 << 20

    let file: SpoolFile
    let spool: SpoolFolder
    let byteCount: UInt64
    /// Its SHA-256.
    let hash: [UInt8]

    /// For a request's body.
    ///
    /// - Parameter attempts: told whenever the body is begun.
    func source(_ attempts: Attempts) -> RequestSource {
        RequestSource(byteCount: Int(byteCount)) { [file] range in
            if range.lowerBound == 0, !range.isEmpty { attempts.beginBody() }
            // The request ends with an error of its own where this cannot be read.
            return try? file.descriptor.read(UInt64(range.lowerBound)..<UInt64(range.upperBound))
        }
    }

    func read(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] {
        try await spool.run { [file] in try file.descriptor.read(range) }
    }

    /// Whether what stands under the name is this very object.
    func isStored(in store: any Store, as name: ObjectName) async throws(StoreError) -> Bool {
        guard try await store.byteCount(of: name) == byteCount else { return false }
        var offset: UInt64 = 0
        while offset < byteCount {
            let range = offset..<min(offset + UInt64(Self.comparedBytes), byteCount)
            let theirs = try await store.read(name, range: range)
            guard try await read(range) == theirs else { return false }
            offset = range.upperBound
        }
        return true
    }
}
