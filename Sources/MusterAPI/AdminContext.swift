package import Foundation

/// How an admin reaches a coordinator: one file of mode 0600 that holds a private key.
package struct AdminContext: Codable, Equatable, Sendable {
    /// The admin plane, for example `https://backup.example:7421`.
    package var url: String
    /// The CA certificate, PEM.
    package var authority: String
    /// The admin's certificate, PEM.
    package var certificate: String
    /// The key of that certificate, PEM.
    package var privateKey: String

    package init(url: String, authority: String, certificate: String, privateKey: String) {
        self.url = url
        self.authority = authority
        self.certificate = certificate
        self.privateKey = privateKey
    }

    package init(json: Data) throws {
        self = try JSONDecoder().decode(Self.self, from: json)
    }

    package func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }
}
