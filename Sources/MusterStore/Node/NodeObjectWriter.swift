import MusterModel
import MusterTransfer

/// Gathers an object in a file without a name, and sends it when it is committed.
final class NodeObjectWriter: ObjectWriter {
    private let store: NodeStore
    private let spooled: SpoolWriter

    init(store: NodeStore, file: SpoolFile) {
        self.store = store
        spooled = SpoolWriter(
            file: file, in: store.spool, store: store.name, maximumBytes: UInt64(NodeStoreWire.maximumObjectBytes))
    }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) { try await spooled.write(bytes) }

    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] { try await spooled.readBack(range) }

    func commit(as name: ObjectName) async throws(StoreError) {
        guard let object = spooled.take() else { throw spooled.closed }
        let attempts = Attempts()
        var request = store.connection.request(.put, name)
        request.headers[NodeStoreWire.hashHeader] = Hex.encode(object.hash)
        request.body = .source(object.source(attempts))
        let answer = try await store.connection.ask(request, about: name, attempts)
        if answer.status == 409, attempts.mayHaveSucceeded, try await object.isStored(in: store, as: name) { return }
        try store.connection.require(201, answer, about: name)
    }

    func abort() async { _ = spooled.take() }
}
