import Foundation
import MusterStore

/// Where a store is, as its address says.
enum StorePlace {
    case folder(path: String)
    /// The address holds the node's id, which never belongs to another node.
    case node(NodeStore.Place)
    case s3(S3Address)

    init(_ text: String) throws(CoordinatorSetupError) {
        if let place = NodeStoreAddress(text)?.place {
            self = .node(place)
        } else if text.hasPrefix("s3:") {
            guard let address = S3Address(text) else { throw .badStore(url: text) }
            self = .s3(address)
        } else {
            self = .folder(path: try Self.folderPath(text))
        }
    }

    /// The one way to write it, as the catalog has it.
    var url: String {
        switch self {
        case .folder(let path): URL(filePath: path).absoluteString
        case .node(let place): NodeStoreAddress(host: place.host, port: place.port, node: "\(place.node)").description
        case .s3(let address): address.description
        }
    }

    private static func folderPath(_ text: String) throws(CoordinatorSetupError) -> String {
        if text.hasPrefix("/") { return text }
        guard let url = URL(string: text), url.scheme == "file", url.path(percentEncoded: false).hasPrefix("/") else {
            throw .badStore(url: text)
        }
        return url.path(percentEncoded: false)
    }
}

extension StorePlace {
    /// How long a call into a store at such a place may take.
    var patience: StorePatience {
        switch self {
        case .folder: .ofFolders
        case .node, .s3: .ofServers
        }
    }
}
