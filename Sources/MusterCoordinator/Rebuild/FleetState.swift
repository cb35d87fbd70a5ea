import Foundation
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// What a rebuild needs to know and cannot see from receipts and manifests: who is in the fleet and who no more, where
/// the stores are, what is held, which policies there are, how the coordinator is set up.
///
/// It is JSON in a sealed record, `coordinator/state/<epoch>-<number>`: sealed to the recovery keys, as it has names, and
/// signed with the receipt key. The newest one that reads counts. Of certificates it has the people's and those that
/// were revoked; a node's others are known by the authority's signature.
struct FleetState: Codable, Hashable, Sendable {
    static let version = 1
    /// The sealed record's name.
    static let recordName = "fleet-state"

    struct Store: Codable, Hashable, Sendable {
        var name: String
        var url: String
        var site: String
        var node: String?
        var state: String
        /// Where it drains only because a rebuild did not read it.
        var placementBefore: String?
        /// Absent until the store was opened for the first time.
        var identity: String?
        /// What an S3 server is reached with.
        var access: S3Access?
    }

    struct Node: Codable, Hashable, Sendable {
        var id: String
        var name: String
        var scope: String
        var signingKey: String
        var keyObject: String
        var state: String
        var joinedAt: Int64
        var endedAt: Int64?
    }

    struct Certificate: Codable, Hashable, Sendable {
        var fingerprint: String
        var role: String
        var node: String?
        var subject: String
        var issuedAt: Int64
        var notAfter: Int64
        var revokedAt: Int64?
    }

    /// Without its members, which their labels tell.
    struct FleetSnapshot: Codable, Hashable, Sendable {
        var name: String
        var createdAt: Int64
        var until: Int64
        var labels: [String: String]
        var actor: String
        var total: Int
    }

    /// One that keeps a database from expiring.
    struct Alarm: Codable, Hashable, Sendable {
        var kind: String
        var node: String?
        var database: String?
        var summary: String
        var hint: String
        var since: Int64
    }

    var version = Self.version
    var epoch: UInt64 = 0
    var number: UInt64 = 0
    /// The text of `coordinator.yaml`.
    var settings: String
    var stores: [Store]
    var nodes: [Node]
    var certificates: [Certificate]
    /// As `Catalog.retentionRecord` gives it.
    var retention: String
    /// Absent where there were none yet.
    var fleetSnapshots: [FleetSnapshot]?
    /// Those that stand and freeze what they are of. Absent where there are none.
    var alarms: [Alarm]?
    /// The newest row of the audit: what a rebuild recovers must reach so far. Absent in records of before.
    var audit: Catalog.AuditHead?
    /// Scope id and secret of the catalog's backups, as hex digits.
    var catalogScope: String

    /// The same state gives the same bytes.
    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(self))
    }

    /// Of all but the epoch and the number, which every record has for itself, and the audit and the words of alarms, which
    /// go along: those change with each snapshot of a database that has one.
    func contentHash() throws -> String {
        var content = self
        (content.epoch, content.number, content.audit) = (0, 0, nil)
        content.alarms = alarms?.map { alarm in
            var standing = alarm
            (standing.summary, standing.hint) = ("", "")
            return standing
        }
        return SHA256Hasher.hash(try content.encoded(), as: Digest<FleetStateKind>.self).description
    }

    func sealed(
        to recoveryKeys: [RecoveryPublicKey], by signer: SigningKey, random: RandomSource
    ) throws -> [UInt8] {
        try SealedRecord.make(
            try encoded(), name: Self.recordName, coordinatorEpoch: epoch, recipients: recoveryKeys, signer: signer,
            random: random)
    }

    /// Opens a stored record.
    ///
    /// - Parameter item: its name must be that of what is in it: an old record under a new name is nothing new.
    static func open(
        _ bytes: [UInt8], as item: StoredItem, with key: RecoveryKey, signedBy signer: VerifyingKey
    ) throws -> FleetState {
        let record = try SealedRecord.parse(bytes).verified(by: signer)
        let state: FleetState
        do {
            state = try JSONDecoder().decode(FleetState.self, from: Data(try record.openSecret(with: key)))
        } catch let error as DecodingError {
            throw FormatError("fleet state", .malformed("\(error)"))
        }
        guard record.name == recordName, state.version == version, record.coordinatorEpoch == state.epoch,
            item == .coordinatorState(epoch: state.epoch, number: state.number)
        else { throw FormatError("fleet state", .malformed("it is another record than its name says")) }
        return state
    }
}

private enum FleetStateKind {}

extension FleetState {
    /// What the catalog and the settings say now.
    ///
    /// - Parameter s3: has the stores' credentials.
    init(
        _ catalog: Catalog, settings: String, s3: S3StoreAccess, random: RandomSource, now: Timestamp
    ) async throws {
        self.settings = settings
        let unread = try await UnreadStores(catalog).placements
        stores = try await catalog.stores().map {
            Store(
                name: $0.name, url: $0.url, site: $0.site, node: $0.node?.description, state: $0.state.rawValue,
                placementBefore: $0.state == .draining ? unread[$0.name]?.rawValue : nil,
                identity: $0.identity?.description, access: S3Address($0.url).flatMap(s3.kept))
        }
        nodes = try await catalog.nodes().sorted { $0.id < $1.id }.map {
            Node(
                id: $0.id.description, name: $0.name, scope: $0.scope.description,
                signingKey: Hex.encode($0.signingKey), keyObject: $0.keyObject, state: $0.state.rawValue,
                joinedAt: $0.joinedAt.microseconds, endedAt: $0.endedAt?.microseconds)
        }
        certificates = try await catalog.certificatesToKeep(now: now).map { certificate, revokedAt in
            Certificate(
                fingerprint: certificate.fingerprint.description, role: certificate.role.rawValue,
                node: certificate.node?.description, subject: certificate.subject,
                issuedAt: certificate.issuedAt.microseconds, notAfter: certificate.notAfter.microseconds,
                revokedAt: revokedAt?.microseconds)
        }
        catalogScope = Hex.encode(try await CatalogScope.current(in: catalog, random: random).bytes)
        fleetSnapshots = try await catalog.fleetSnapshots(limit: Int.max).map {
            FleetSnapshot(
                name: $0.name, createdAt: $0.createdAt.microseconds, until: $0.until.microseconds, labels: $0.labels,
                actor: $0.actor, total: $0.total)
        }
        let freezing = try await catalog.standingFreezes().map {
            Alarm(
                kind: $0.kind.rawValue, node: $0.node?.description, database: $0.database?.description,
                summary: $0.summary, hint: $0.hint, since: $0.since.microseconds)
        }
        alarms = freezing.isEmpty ? nil : freezing
        audit = try await catalog.auditHead()
        retention = String(decoding: try await catalog.retentionRecord(), as: UTF8.self)
    }
}

extension FleetState.Node {
    /// - Returns: nil for what this version would not have written.
    var entry: Catalog.Node? {
        guard let id = NodeID(id), let scope = ScopeID(scope), let key = Hex.decode(signingKey), key.count == 32,
            let state = Catalog.Node.State(rawValue: state)
        else { return nil }
        var node = Catalog.Node(
            id: id, name: name, scope: scope, signingKey: key, keyObject: keyObject,
            joinedAt: Timestamp(microseconds: joinedAt), agentVersion: "")
        (node.state, node.endedAt) = (state, endedAt.map(Timestamp.init(microseconds:)))
        return node
    }
}

extension FleetState.Alarm {
    /// - Returns: nil for a kind that this version does not know.
    var entry: Catalog.Alarm? {
        AlarmKind(rawValue: kind).map {
            Catalog.Alarm(
                kind: $0, node: node.flatMap { NodeID($0) }, database: database.flatMap { DatabaseID($0) },
                summary: summary, hint: hint, since: Timestamp(microseconds: since))
        }
    }
}

extension FleetState.FleetSnapshot {
    var entry: Catalog.FleetSnapshot {
        Catalog.FleetSnapshot(
            name: name, createdAt: Timestamp(microseconds: createdAt), until: Timestamp(microseconds: until),
            labels: labels, actor: actor, total: total)
    }
}

extension FleetState.Certificate {
    var entry: Catalog.Certificate? {
        guard let fingerprint = CertificateFingerprint(fingerprint), let role = Role(rawValue: role) else { return nil }
        let node = node.flatMap { NodeID($0) }
        guard (role == .node) == (node != nil) else { return nil }
        return Catalog.Certificate(
            fingerprint: fingerprint, role: role, node: node, subject: subject,
            issuedAt: Timestamp(microseconds: issuedAt), notAfter: Timestamp(microseconds: notAfter))
    }
}
