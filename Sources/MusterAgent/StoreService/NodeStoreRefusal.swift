import HTTPTypes
import MusterModel
import MusterServing
import MusterStore

/// An answer of the served store that is not 2xx; its text is for people.
struct NodeStoreRefusal: Error {
    let status: HTTPResponse.Status
    let text: String
    /// Of the object, where a range went past its end.
    var byteCount: UInt64?

    init(_ status: HTTPResponse.Status, _ text: String, byteCount: UInt64? = nil) {
        (self.status, self.text, self.byteCount) = (status, text, byteCount)
    }

    static let notCoordinator = NodeStoreRefusal(.forbidden, "only the fleet's coordinator may use this store")
    static let noRoute = NodeStoreRefusal(.notFound, "there is no such route")
    static let lengthRequired = NodeStoreRefusal(.lengthRequired, "an object needs a Content-Length")
    static let tooLarge = NodeStoreRefusal(
        .contentTooLarge, "an object has at most \(NodeStoreWire.maximumObjectBytes) bytes")
    static let full = NodeStoreRefusal(insufficientStorage, "the store is full")
    static let wrongHash = NodeStoreRefusal(.unprocessableContent, "the body does not have the hash that was announced")
    static let listingDropped = NodeStoreRefusal(.gone, "that listing was dropped; list again from the start")

    /// RFC 4918 section 11.5.
    private static let insufficientStorage = HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")

    /// What anything thrown on the way means to the coordinator.
    init(_ error: any Error) {
        switch error {
        case let error as NodeStoreRefusal: self = error
        case is BodyTooSlow: self.init(.requestTimeout, "the body came too slowly")
        case let error as StoreError: self.init(error)
        default: self.init(.internalServerError, "the store failed: \(error)")
        }
    }

    private init(_ error: StoreError) {
        switch error {
        case .notFound: self.init(.notFound, error.summary)
        case .alreadyExists: self.init(.conflict, error.summary)
        case .full: self = .full
        case .tooShort(_, _, let byteCount, _):
            self.init(.rangeNotSatisfiable, error.summary, byteCount: byteCount)
        default: self.init(error.isTransient ? .serviceUnavailable : .internalServerError, error.summary)
        }
    }
}
