package import MusterModel
package import MusterTransfer

extension S3Store {
    /// Above that an object is put in parts of this size: one part is in memory at a time.
    package static let partBytes = 32 << 20

    /// How a store is reached, and with what patience.
    package struct Setup: Sendable {
        let access: S3Access
        let clock: any WallClock
        let retry: StoreRetry
        let settings: HTTPClient.Settings
        /// An existing folder for objects on their way; a crash leaves nothing in it. nil for a store that is only read.
        let spool: String?
        let partBytes: Int

        package init(
            access: S3Access, spool: String?, retry: StoreRetry, clock: any WallClock,
            settings: HTTPClient.Settings = HTTPClient.Settings(), partBytes: Int = S3Store.partBytes
        ) {
            (self.access, self.spool, self.retry) = (access, spool, retry)
            (self.clock, self.settings, self.partBytes) = (clock, settings, partBytes)
        }
    }

    /// Makes a store where there is none, in a bucket that is there.
    package static func create(
        at address: S3Address, name: String, _ setup: Setup, random: RandomSource, now: Timestamp
    ) async throws(StoreError) -> S3Store {
        let store = try unchecked(address, name, StoreID(from: random), setup)
        let first = try await store.list(.all).nextPage()
        guard first.isEmpty else {
            if first.contains(where: { $0.name == .format }) { throw .alreadyExists(store: name, object: .format) }
            throw .folderNotEmpty(path: address.description)
        }
        try await store.put(.format, FormatRecord(store.id, created: now).bytes)
        return store
    }

    /// Opens a store that `create` made.
    package static func open(at address: S3Address, name: String, _ setup: Setup) async throws(StoreError) -> S3Store {
        let reader = try unchecked(address, name, StoreID(from: setup.retry.random), setup)
        let id = try await FormatRecord.read(in: reader, at: address.description)
        return S3Store(
            name: name, id: id, connection: reader.connection, spool: reader.spool, partBytes: setup.partBytes)
    }

    private static func unchecked(
        _ address: S3Address, _ name: String, _ id: StoreID, _ setup: Setup
    ) throws(StoreError) -> S3Store {
        let connection = try S3Connection(
            store: name, address: address, access: setup.access, retry: setup.retry, clock: setup.clock,
            settings: setup.settings)
        var spool: SpoolFolder?
        if let path = setup.spool {
            spool = try SpoolFolder(path: path, storeName: name, random: setup.retry.random)
        }
        return S3Store(name: name, id: id, connection: connection, spool: spool, partBytes: setup.partBytes)
    }
}
