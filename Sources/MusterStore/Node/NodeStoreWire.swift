package import MusterModel

package enum BodyKind {}
/// SHA-256 of a request's body.
package typealias BodyHash = Digest<BodyKind>

/// The words of `proto/node-store.md`, for both sides.
package enum NodeStoreWire {
    package static let objectsPath = "/v1/objects/"
    package static let listingsPath = "/v1/listings/"
    package static let roomPath = "/v1/room"
    package static let hashHeader = "muster-sha256"
    package static let byteCountHeader = "muster-object-bytes"
    package static let freshHeader = "muster-fresh"
    /// The largest pack, with room for a manifest that is a little larger.
    package static let maximumObjectBytes = 66 << 20
    /// A refusal's text is never longer.
    static let maximumTextBytes = 4096

    /// The name in a certificate that makes its owner the coordinator of the fleet. Nodes never get it.
    package static let coordinatorMark = "muster:coordinator"

    /// The name in a node's certificate. It is never resolved: the coordinator knows where the node's store listens.
    package static func hostName(of node: NodeID) -> String { "\(node).nodes.muster.internal" }

    /// One page of a listing as lines of a byte count and a name; no line is the end of the listing.
    package static func text(of objects: [StoredObject]) -> String {
        objects.map { "\($0.byteCount) \($0.name)\n" }.joined()
    }

    /// - Returns: nil for anything but such a page.
    package static func objects(_ bytes: [UInt8]) -> [StoredObject]? {
        guard let text = String(validating: bytes, as: UTF8.self), text.isEmpty || text.hasSuffix("\n") else {
            return nil
        }
        let lines = text.dropLast().split(separator: "\n", omittingEmptySubsequences: false)
        guard !text.isEmpty else { return [] }
        var objects: [StoredObject] = []
        for line in lines {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            guard words.count == 2, let byteCount = UInt64(words[0]), let name = ObjectName(words[1]) else {
                return nil
            }
            objects.append(StoredObject(name: name, byteCount: byteCount))
        }
        return objects.count <= StoreLimit.objectsPerPage ? objects : nil
    }
}
