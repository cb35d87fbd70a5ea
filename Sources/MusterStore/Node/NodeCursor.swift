import MusterModel
import MusterTransfer
import Synchronization

/// A listing that the server keeps open; each page has a number, so that one whose answer was lost can be asked for again.
final class NodeCursor: ObjectCursor {
    private static let maximumPageBytes = StoreLimit.objectsPerPage * (ObjectName.maximumBytes + 24)

    private let connection: NodeStoreConnection
    private let prefix: ObjectPrefix
    private let id: String
    private let number = Mutex(0)
    private let hasEnded = Mutex(false)

    init(connection: NodeStoreConnection, prefix: ObjectPrefix) {
        (self.connection, self.prefix) = (connection, prefix)
        id = connection.newID()
    }

    func nextPage() async throws(StoreError) -> [StoredObject] {
        guard !hasEnded.withLock({ $0 }) else { return [] }
        let page = number.withLock { $0 }
        let path = "\(NodeStoreWire.listingsPath)\(id)/\(page)?prefix=\(prefix)"
        let answer = try await connection.ask(
            connection.request(.get, path: path, maximumResponseBytes: Self.maximumPageBytes))
        if answer.status == 410 {
            throw .refused(
                store: connection.store, object: "", reason: "it has dropped the listing of '\(prefix)'",
                hint: "List again from the start.")
        }
        try connection.require(200, answer)
        guard let objects = NodeStoreWire.objects(answer.body),
            objects.allSatisfy({ $0.name.description.hasPrefix(prefix.description) })
        else { throw connection.unreadable(answer) }
        number.withLock { $0 = page + 1 }
        if objects.isEmpty { hasEnded.withLock { $0 = true } }
        return objects
    }
}
