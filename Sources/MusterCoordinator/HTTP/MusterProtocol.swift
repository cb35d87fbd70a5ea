import HTTPTypes
import Hummingbird
import MusterAPI

/// Which version of `api.proto` the two sides speak.
enum MusterProtocol {
    private static let fieldName = HTTPField.Name(ProtocolVersion.headerName)

    /// - Throws: `Refusal` where the peer speaks another major version.
    static func check(_ request: Request) throws {
        guard let fieldName, let text = request.headers[fieldName] else { return }
        guard let version = ProtocolVersion(text) else {
            throw Refusal.malformed("\(ProtocolVersion.headerName) '\(text.cut(32))' is no version such as 1.0")
        }
        guard version.major == ProtocolVersion.current.major else {
            throw Refusal(
                .badRequest, "protocol",
                "the peer speaks protocol \(version), and this coordinator \(ProtocolVersion.current)",
                hint: "Bring both sides to versions of Muster with the same major number of the protocol; "
                    + "the coordinator first.")
        }
    }
}
