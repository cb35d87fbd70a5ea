import Glibc
import Synchronization

/// Writes into `incoming/` and gives the finished file its name.
final class FolderObjectWriter: ObjectWriter {
    private struct State {
        /// nil once the writer is closed.
        var file: UnfinishedFile?
        var byteCount: UInt64 = 0
        /// All that was written is on the medium.
        var isDurable = false

        mutating func takeFile() -> UnfinishedFile? {
            defer { file = nil }
            return file
        }
    }

    private let folder: StoreFolder
    /// Locked on the store's own threads only, for as long as a call to the disk takes.
    private let state: Mutex<State>

    init(folder: StoreFolder) throws(SystemFailure) {
        self.folder = folder
        state = Mutex(State(file: try folder.makeUnfinishedFile()))
    }

    /// An object with all its bytes. Blocks, as the other calls without `async` do.
    convenience init(folder: StoreFolder, holding bytes: [UInt8]) throws {
        try self.init(folder: folder)
        try append(bytes[...])
    }

    deinit { discard() }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) {
        try await folder.run { [self] in try append(bytes) }
    }

    /// Makes what was written durable ahead of the commit.
    func makeDurable() throws {
        try state.withLock { state in
            guard let file = state.takeFile() else { throw closed }
            do {
                try file.descriptor.sync()
            } catch {
                folder.discard(file)
                throw error
            }
            (state.file, state.isDurable) = (file, true)
        }
    }

    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] {
        try await folder.run { [self] in
            try state.withLock { state in
                guard let file = state.file else { throw closed }
                try folder.requireReadable(range, of: "(not yet committed)")
                return try folder.whole(file.descriptor.read(range), range, of: "(not yet committed)")
            }
        }
    }

    func commit(as name: ObjectName) async throws(StoreError) {
        try await folder.run(name) { [self] in try finish(as: name) }
    }

    func finish(as name: ObjectName) throws {
        // Taken out first: whatever fails below, this file is never synced again.
        let (file, isDurable) = state.withLock { ($0.takeFile(), $0.isDurable) }
        guard let file else { throw closed }
        // It stays locked until it has its name, or is given up.
        defer { folder.discard(file) }
        do throws(SystemFailure) {
            try folder.finish(file, isDurable: isDurable, as: name)
        } catch {
            // Someone took a folder away: "no such object" would be the wrong word for it.
            guard error.code == ENOENT || error.code == ENOTDIR else { throw error }
            throw StoreError.failed(
                store: folder.storeName, object: name.description, operation: "write", code: error.code)
        }
    }

    func abort() async {
        // The work itself does not throw, and `run` only passes on what it throws.
        try? await folder.run { [self] in discard() }
    }

    private func append(_ bytes: ArraySlice<UInt8>) throws {
        try state.withLock { state in
            guard let file = state.takeFile() else { throw closed }
            do {
                try file.descriptor.write(bytes, at: state.byteCount)
            } catch {
                folder.discard(file)
                throw error
            }
            state.byteCount += UInt64(bytes.count)
            (state.file, state.isDurable) = (file, false)
        }
    }

    private var closed: StoreError { .writerClosed(store: folder.storeName) }

    private func discard() {
        if let file = state.withLock({ $0.takeFile() }) { folder.discard(file) }
    }
}

extension StoreFolder {
    /// Makes the bytes durable, then the name visible, then the name durable.
    ///
    /// A second name and not a renaming: link(2) never replaces a file, on any
    /// file system and kernel, where only some can rename without replacing.
    fileprivate func finish(
        _ file: UnfinishedFile, isDurable: Bool, as name: ObjectName
    ) throws(SystemFailure) {
        let fileName = String(name.segments.last ?? "")
        if !isDurable { try file.descriptor.sync() }
        let target = try folder(for: name)
        try root.link(file.path, to: fileName, in: target)
        do {
            try target.sync()
        } catch {
            // Nobody was told of it, so nobody will miss it; if it stays, it is an object that nothing names.
            try? target.remove(fileName)
            throw error
        }
    }
}
