import Crypto
package import MusterModel
import MusterTransfer

extension NodeStore: ProbedStore {
    package func takesSignedPut(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? { nil }

    package func refusesWrongChecksum(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? {
        var request = connection.request(.put, name)
        request.headers[NodeStoreWire.hashHeader] = Hex.encode(SHA256.hash(data: bytes + [0]))
        request.body = .bytes(bytes)
        let answer = try await connection.ask(request, about: name)
        if answer.status == 422 { return true }
        try connection.require(201, answer, about: name)
        return false
    }

    package func time() async throws(StoreError) -> Timestamp? {
        try await connection.ask(connection.request(.get, path: NodeStoreWire.roomPath)).head.date
    }

    package func locksObjects() async throws(StoreError) -> Bool? { nil }
}
