import Glibc
import MusterModel

/// Where objects wait on their way to a store that is not on this machine. Its files have no names, so that a crash
/// leaves none behind.
final class SpoolFolder: Sendable {
    private let storeName: String
    private let folder: Descriptor
    private let random: RandomSource
    private let pool = BlockingPool(label: "muster-spool", width: 4)

    init(path: String, storeName: String, random: RandomSource) throws(StoreError) {
        (self.storeName, self.random) = (storeName, random)
        do {
            folder = try Descriptor(folder: path)
        } catch {
            throw StoreError(error, store: storeName, object: nil)
        }
    }

    func makeFile() async throws(StoreError) -> SpoolFile {
        try await run { [self] in
            let name = "spool-\(Hex.encode(random.bytes(16)))"
            let file = SpoolFile(try Descriptor(name, in: folder, flags: O_RDWR | O_CREAT | O_EXCL))
            try folder.remove(name)
            return file
        }
    }

    /// Runs blocking work on the spool's own threads.
    ///
    /// - Parameter body: throws `SystemFailure` or `StoreError`.
    func run<Success: Sendable>(
        _ body: @escaping @Sendable () throws -> Success
    ) async throws(StoreError) -> Success {
        do {
            return try await pool.run(body)
        } catch let failure as SystemFailure {
            // Our own disk, not the store's: never "full", which would speak of the other one.
            throw .failed(
                store: storeName, object: "", operation: "\(failure.operation) in the spool", code: failure.code)
        } catch let error as StoreError {
            throw error
        } catch {
            preconditionFailure("a spool's work threw \(error)")
        }
    }
}

/// An open file without a name.
final class SpoolFile: Sendable {
    let descriptor: Descriptor

    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
}
