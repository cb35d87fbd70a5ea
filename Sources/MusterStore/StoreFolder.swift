import Glibc
import MusterModel
import Synchronization

/// The open folder behind a folder store: what its writers, readers and cursors share. Its calls block.
final class StoreFolder: Sendable {
    let storeName: String
    let root: Descriptor
    private let random: RandomSource
    /// Wide, because most of the time its threads wait for the disk, and what is made durable at the same time
    /// shares a flush.
    private let pool = BlockingPool(label: "muster-store", width: 16)
    /// What this process knows of folders' entries in their parents.
    private let entries = Mutex<[String: Entry]>([:])

    private enum Entry {
        case durable
        /// A sync failed, and another that succeeds would prove nothing.
        case doubtful
    }
    private static let maximumRemembered = 100_000

    init(path: String, storeName: String, random: RandomSource) throws(SystemFailure) {
        (self.storeName, self.random) = (storeName, random)
        root = try Descriptor(folder: path)
    }

    /// Runs blocking work on the store's own threads.
    ///
    /// - Parameter object: what the work is about, for errors.
    /// - Parameter body: throws `SystemFailure` or `StoreError`.
    func run<Success: Sendable>(
        _ object: ObjectName? = nil, _ body: @escaping @Sendable () throws -> Success
    ) async throws(StoreError) -> Success {
        do {
            return try await pool.run(body)
        } catch let failure as SystemFailure {
            throw StoreError(failure, store: storeName, object: object)
        } catch let error as StoreError {
            throw error
        } catch {
            preconditionFailure("a store's work threw \(error)")
        }
    }

    /// The same for what must not come late, as a deletion: if it is cancelled before its turn has come, it does not
    /// begin.
    func runUnlessGivenUp<Success: Sendable>(
        _ object: ObjectName? = nil, _ body: @escaping @Sendable () throws -> Success
    ) async throws(StoreError) -> Success {
        let isGivenUp = Flag()
        let outcome = await withTaskCancellationHandler { () -> Result<Success, StoreError> in
            do throws(StoreError) {
                return .success(
                    try await run(object) { [storeName] in
                        guard !isGivenUp.isSet else {
                            // The store is well, and busy: it must not count as away.
                            throw StoreError.failed(
                                store: storeName, object: object?.description ?? "", operation: "delete",
                                code: ETIMEDOUT)
                        }
                        return try body()
                    })
            } catch {
                return .failure(error)
            }
        } onCancel: {
            isGivenUp.set()
        }
        return try outcome.get()
    }

    // MARK: Unfinished objects

    func makeUnfinishedFile() throws(SystemFailure) -> UnfinishedFile {
        // A second round only if another process, opening the store, reaped the file before it was locked.
        for _ in 0..<16 {
            let path = "\(ObjectName.reservedSegment)/\(Hex.encode(random.bytes(16)))"
            let file = UnfinishedFile(
                descriptor: try Descriptor(path, in: root, flags: O_RDWR | O_CREAT | O_EXCL), path: path)
            if try file.descriptor.tryLock(), try file.descriptor.status().linkCount > 0 { return file }
        }
        throw SystemFailure("begin an object", code: EBUSY)
    }

    /// Removes what crashed writers left behind; files that a living writer holds are locked and stay.
    func reapLeftovers() throws(SystemFailure) {
        let reader = try FolderReader(ObjectName.reservedSegment, in: root)
        while let name = try reader.next() {
            let path = "\(ObjectName.reservedSegment)/\(name)"
            do {
                let file = try Descriptor(path, in: root, flags: O_RDWR)
                if try file.tryLock() { try root.remove(path) }
            } catch {
                // Its writer may have finished it since the folder was read.
                guard error.code == ENOENT else { throw error }
            }
        }
    }

    /// Takes a file out of `incoming/`, if it can: what stays is reaped when the store is opened again.
    func discard(_ file: UnfinishedFile) {
        try? root.remove(file.path)
    }

    // MARK: Folders of objects

    /// Opens the folder that `name` goes into. It and its parents are made if need be, and are durable.
    func folder(for name: ObjectName) throws(SystemFailure) -> Descriptor {
        var current = try Descriptor(".", in: root, flags: O_RDONLY | O_DIRECTORY)
        var path = ""
        for segment in name.segments.dropLast() {
            path += "\(segment)/"
            try makeDurable(String(segment), in: current, path: path)
            current = try Descriptor(String(segment), in: current, flags: O_RDONLY | O_DIRECTORY)
        }
        return current
    }

    private func makeDurable(
        _ name: String, in parent: borrowing Descriptor, path: String
    ) throws(SystemFailure) {
        let isNew = try parent.makeFolder(name)
        switch entries.withLock({ $0[path] }) {
        case .durable where !isNew: return
        case .doubtful: throw SystemFailure("make durable", code: EIO)
        // Another writer may have made it and not have synced it yet: only our own memory counts.
        case .durable, nil: break
        }
        do {
            try parent.sync()
            remember(.durable, path)
        } catch {
            // Made anew it is written anew; if it cannot be taken away, nothing goes into it any more.
            do {
                try parent.removeFolder(name)
            } catch {
                remember(.doubtful, path)
            }
            throw error
        }
    }

    private func remember(_ entry: Entry, _ path: String) {
        entries.withLock { entries in
            if entries.count >= Self.maximumRemembered { entries = entries.filter { $0.value == .doubtful } }
            entries[path] = entry
        }
    }
}

private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

/// A file in `incoming/`, locked for as long as it is open, so that no one takes it for a leftover.
final class UnfinishedFile: Sendable {
    let descriptor: Descriptor
    /// From the store's root.
    let path: String

    init(descriptor: consuming Descriptor, path: String) {
        self.descriptor = descriptor
        self.path = path
    }
}

extension StoreError {
    init(_ failure: SystemFailure, store: String, object: ObjectName?) {
        switch (failure.code, object) {
        case (ENOSPC, _), (EDQUOT, _): self = .full(store: store)
        case (EROFS, _): self = .readOnly(store: store)
        case (ENOENT, let object?), (ENOTDIR, let object?): self = .notFound(store: store, object: object)
        case (EEXIST, let object?): self = .alreadyExists(store: store, object: object)
        default:
            self = .failed(
                store: store, object: object?.description ?? "", operation: failure.operation, code: failure.code)
        }
    }
}
