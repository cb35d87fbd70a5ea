import Foundation
import MusterModel
import MusterStore
import SwiftASN1
import X509

/// Which node a certificate of the authority is for, as it says itself.
struct NodeClaim: Sendable {
    let node: NodeID
    let issuedAt: Timestamp
    let notAfter: Timestamp

    private struct NotANode: Error {}

    /// - Parameter certificate: DER, and of our authority: that is not checked here.
    init(certificate bytes: [UInt8]) throws {
        let certificate = try Certificate(derEncoded: bytes)
        let names = try certificate.extensions.subjectAlternativeNames ?? SubjectAlternativeNames([])
        // The name is made of the node's id by the authority, and only a node's certificate has one.
        let nodes = certificate.subject.flatMap { $0 }.compactMap { attribute in NodeID(attribute.value.description) }
        guard let node = nodes.first, nodes.count == 1,
            names.contains(.dnsName(NodeStoreWire.hostName(of: node)))
        else { throw NotANode() }
        self.node = node
        (issuedAt, notAfter) = (Timestamp(certificate.notValidBefore), Timestamp(certificate.notValidAfter))
    }
}

extension Timestamp {
    init(_ date: Date) { self.init(microseconds: Int64(date.timeIntervalSince1970 * 1_000_000)) }
}
