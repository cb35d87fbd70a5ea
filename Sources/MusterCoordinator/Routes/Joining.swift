import Foundation
import HTTPTypes
import Hummingbird
import Logging
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import SwiftProtobuf

/// Invite, join, renew: how a node gets its certificate.
extension Coordinator {
    private static let tokenLifetime = Duration.seconds(600)
    private static let clockTolerance = Duration.seconds(300)

    func invite(_ call: Call) async throws -> Response {
        let request: Muster_V1_TokenRequest = try await call.message()
        let name = try Self.checked(nodeName: request.nodeName)
        let now = clock.now()
        let secret = random.bytes(32)
        let expiresAt = now + Self.tokenLifetime
        guard
            try await catalog.invite(
                secretHash: Self.hash(secret), nodeName: name, now: now, expiresAt: expiresAt,
                audit: row(call, "invite", name))
        else {
            throw Refusal(
                .conflict, "node_exists", "a node named '\(name)' has joined already",
                hint: "Choose another name, or retire that node first: its history stays.")
        }
        let token = JoinToken(
            url: settings.url(port: await ports.port(of: .agent)), authority: try authority.certificatePEM,
            recoveryKeys: recoveryKeys.map { Hex.encode($0.bytes) }, secret: Hex.encode(secret), nodeName: name,
            expiresAt: expiresAt.description)
        var answer = Muster_V1_TokenResponse()
        answer.token = try token.text()
        answer.expiresAt = expiresAt.description
        return try call.answer(answer)
    }

    /// Redeems a token: the key record is durable before the node is one of the fleet.
    func join(_ call: Call) async throws -> Response {
        let request: Muster_V1_JoinRequest = try await call.message()
        let now = clock.now()
        guard let secret = Hex.decode(request.tokenSecret), secret.count == 32, let id = NodeID(request.nodeID) else {
            throw Self.tokenRefused
        }
        let name = try Self.checked(nodeName: request.nodeName)
        let (secretHash, requestHash) = (Self.hash(secret), Self.hash(try request.serializedBytes()))
        let state = try await catalog.token(
            secretHash: secretHash, requestHash: requestHash, nodeName: name, now: now)
        guard state == .good else { return try joined(call, id, try Self.certificate(of: state, name)) }

        // Before anything of it is stored: a node's key record must not get a stranger's beside it.
        guard try await catalog.node(id) == nil else { throw Self.tokenRefused }
        let record = try checkedKeyRecord(Array(request.keyRecord), node: id, name: name)
        let object = ObjectName.nodeKeys(id, epoch: record.keyEpoch, Generation(from: random))
        let issued = try issueNodeCertificate(request.certificateRequest, id, now: now)
        let registration = Catalog.Registration(
            secretHash: secretHash, requestHash: requestHash,
            node: Catalog.Node(
                id: id, name: name, scope: record.scope, signingKey: record.signingKey.bytes,
                keyObject: object.description, joinedAt: now, agentVersion: request.agentVersion.cut(64)),
            certificate: Self.entry(issued, id, now: now), certificatePEM: issued.pem)
        let (outcome, keepers) = try await puttingObjects { objects in
            let keepers = try await keep(Array(request.keyRecord), as: object, of: id, objects)
            let outcome = try await catalog.redeem(
                registration, now: clock.now(), audit: row(call, "join", "\(name) \(id)"))
            if outcome == .good { objects.areRecorded() }
            return (outcome, keepers)
        }
        guard outcome == .good else { return try joined(call, id, try Self.certificate(of: outcome, name)) }
        for store in keepers {
            try await catalog.recordKeys(
                of: id, in: store, object: object.description, byteCount: request.keyRecord.count,
                quarantine: Self.quarantine, now: clock.now())
        }
        await keepChangeSoon()
        logger.info("node joined", metadata: ["node": "\(name)"])
        return try joined(call, id, issued.pem)
    }

    func renew(_ call: Call) async throws -> Response {
        let request: Muster_V1_RenewRequest = try await call.message()
        let now = clock.now()
        guard let id = NodeID(request.nodeID), let node = try await catalog.node(id), node.state == .active,
            let key = VerifyingKey(bytes: node.signingKey)
        else { throw Refusal.unknownCertificate }
        if case .node(let caller, _, _) = call.caller, caller != id { throw Refusal.forbidden }
        let signed = Array("\(request.nodeID)\0\(request.signedAt)\0\(request.certificateRequest)".utf8)
        guard key.accepts(Array(request.signature), of: signed, as: .renewal) else {
            throw Refusal.unknownCertificate
        }
        guard let signedAt = Timestamp(request.signedAt),
            abs((now - signedAt).microseconds) <= Self.clockTolerance.microseconds
        else {
            throw Refusal(
                .badRequest, "clock", "the request was signed at \(request.signedAt), and now is \(now)",
                hint: "Set the clocks of node and coordinator: they may differ by 5 minutes.", isTransient: true)
        }
        let issued = try issueNodeCertificate(request.certificateRequest, id, now: now)
        let outcome = try await catalog.renew(
            Self.entry(issued, id, now: now), requestHash: Self.hash(signed + Array(request.signature)), now: now,
            expiresAt: now + Self.clockTolerance * 3, audit: row(call, "renew", "\(node.name) \(id)"))
        switch outcome {
        case .renewed: break
        case .refused: throw Refusal.unknownCertificate
        case .tooMany: throw Refusal.tooManyRenewals
        }
        var answer = Muster_V1_RenewResponse()
        answer.certificate = issued.pem
        return try call.answer(answer)
    }

    /// Puts a node's key record into every store that answers; the others get it with the node's first snapshot.
    ///
    /// - Returns: the numbers of the stores. One at least is on no node.
    private func keep(
        _ record: [UInt8], as name: ObjectName, of node: NodeID, _ objects: UnrecordedObjects
    ) async throws -> [Int64] {
        var kept: [OpenStore] = []
        var failure: StoreError?
        for store in stores.acknowledgers(of: node) {
            do {
                try await objects.put(name, record, into: store)
                kept.append(store)
            } catch {
                failure = failure ?? error
            }
        }
        guard kept.contains(where: { !$0.isOnNode }) else { throw failure.map { Refusal($0) } ?? Refusal.noStore }
        return kept.map(\.number)
    }

    static func hash(_ bytes: [UInt8]) -> [UInt8] {
        SHA256Hasher.hash(bytes, as: Digest<SecretKind>.self).bytes
    }

    /// A node's name is shown, logged and typed: letters, digits and `._-`, at most 63 of them.
    static func checked(nodeName name: String) throws -> String {
        guard name.wholeMatch(of: #/[A-Za-z0-9][A-Za-z0-9._-]{0,62}/#) != nil, NodeID(name) == nil else {
            throw Refusal.invalid(
                "'\(name.prefix(80))' is no node name",
                hint: "Use 1 to 63 letters, digits, dots, dashes and underscores.")
        }
        return name
    }

    private static let tokenRefused = Refusal(
        .unauthorized, "token_refused", "this token is unknown, used, expired, or for another node",
        hint: "Ask an admin for a new one with 'muster node invite'; a token is good once and for 10 minutes.")

    private static func certificate(of state: Catalog.TokenState, _ name: String) throws -> String {
        switch state {
        case .redeemed(let certificate): return certificate
        case .nameTaken:
            throw Refusal(
                .conflict, "node_exists", "a node named '\(name)' has joined already",
                hint: "Ask an admin to invite this node under another name.")
        case .good, .refused: throw tokenRefused
        }
    }

    private func checkedKeyRecord(_ bytes: [UInt8], node: NodeID, name: String) throws -> KeyRecord {
        let parsed = try KeyRecord.parse(bytes)
        let record = try parsed.verified(by: parsed.claimed.signingKey)
        guard record.node == node, record.nodeName == name else {
            throw Refusal.malformed("the key record is another node's")
        }
        let recipients = Set(record.secrets.map(\.recipient))
        guard recipients.isSuperset(of: recoveryKeys) else {
            throw Refusal.invalid(
                "the key record is not sealed to every recovery key", hint: "Join again with a fresh token.")
        }
        return record
    }

    private func issueNodeCertificate(_ request: String, _ node: NodeID, now: Timestamp) throws -> IssuedCertificate {
        do {
            return try authority.issueNode(request: request, node: node, random: random, now: now)
        } catch {
            throw Refusal.malformed("the certificate request is no PKCS #10 that is signed by its key")
        }
    }

    private static func entry(_ issued: IssuedCertificate, _ node: NodeID, now: Timestamp) -> Catalog.Certificate {
        Catalog.Certificate(
            fingerprint: issued.fingerprint, role: .node, node: node, subject: node.description, issuedAt: now,
            notAfter: issued.notAfter)
    }

    private func joined(_ call: Call, _ node: NodeID, _ certificate: String) throws -> Response {
        var answer = Muster_V1_JoinResponse()
        answer.nodeID = node.description
        answer.certificate = certificate
        answer.receiptKey = Hex.encode(receiptKey.verifyingKey.bytes)
        return try call.answer(answer)
    }
}

/// Of one-use secrets, as the catalog keeps them.
private enum SecretKind {}
