import HTTPTypes
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterServing
import MusterStore
import NIOCore

/// An answer that is not 2xx: a status, a fixed word for programs, and what a person should do.
struct Refusal: ActionableError {
    let status: HTTPResponse.Status
    let code: String
    let summary: String
    let hint: String
    var isTransient = false
    /// It is there and another node's. The answer tells nothing of that; the audit does.
    var isConcealing = false
    var head: Catalog.Head?
    var missingPacks: [PackID] = []

    init(_ status: HTTPResponse.Status, _ code: String, _ summary: String, hint: String, isTransient: Bool = false) {
        (self.status, self.code, self.summary) = (status, code, summary)
        (self.hint, self.isTransient) = (hint, isTransient)
    }

    static let anonymous = Refusal(
        .unauthorized, "unauthenticated", "this request needs a certificate",
        hint: "Join the fleet first, or use the admin context that 'muster coordinator init' wrote.")
    static let unknownCertificate = Refusal(
        .unauthorized, "unknown_certificate", "this certificate is unknown, expired or revoked",
        hint: "Ask an admin whether the node was revoked; invite it anew if it should take part.")
    static let forbidden = Refusal(
        .forbidden, "forbidden", "this certificate's role may not do that",
        hint: "Use a certificate with a higher role, or the other plane.")
    static let noRoute = Refusal(
        .notFound, "not_found", "there is no such route on this plane",
        hint: "Check that both sides run the same version of Muster, and that the URL is the right plane's.")
    static let lengthRequired = Refusal(
        .lengthRequired, "length_required", "a body needs a Content-Length",
        hint: "Check that both sides run the same version of Muster.")
    static let busy = Refusal(
        .serviceUnavailable, "busy", "the coordinator has too much to do at the moment",
        hint: "Nothing is wrong; the request is tried again.", isTransient: true)
    static let tooMany = Refusal(
        .tooManyRequests, "too_many_requests", "this node has too many requests under way",
        hint: "Wait for some of them to end; check for a second agent with this node's keys.", isTransient: true)
    static let tooManyRenewals = Refusal(
        .tooManyRequests, "too_many_renewals",
        "this node was given \(Catalog.mostRenewals) certificates within the last days",
        hint: "Look for a second agent with this node's keys; it may renew again within 4 days.", isTransient: true)
    static let noStore = Refusal(
        .serviceUnavailable, "no_store", "no store takes this node's snapshots",
        hint: "Add a store that is on no node with 'muster store add'.", isTransient: true)
    static let tooSlow = Refusal(
        .requestTimeout, "too_slow", "the body came too slowly",
        hint: "Check the network between node and coordinator.",
        isTransient: true)

    static func malformed(_ summary: String) -> Refusal {
        Refusal(
            .badRequest, "malformed", summary, hint: "Check that both sides run the same version of Muster.")
    }
    static func invalid(_ summary: String, hint: String) -> Refusal {
        Refusal(.badRequest, "invalid", summary, hint: hint)
    }
    static func notFound(_ what: String) -> Refusal {
        Refusal(.notFound, "not_found", "there is no \(what)", hint: "List what there is, and check the spelling.")
    }
    static func notFound(_ what: String, isAnothers: Bool) -> Refusal {
        var refusal = notFound(what)
        refusal.isConcealing = isAnothers
        return refusal
    }
    static func objectMissing(_ name: String, store: String) -> Refusal {
        Refusal(
            .notFound, "object_missing", "store '\(store)' has lost object \(name)",
            hint: "Run 'muster verify --level scrub' to see which snapshots are hit, and put the object back.")
    }
    static func tooLarge(_ what: String, limitBytes: Int) -> Refusal {
        Refusal(
            .contentTooLarge, "too_large", "\(what) is larger than \(limitBytes) bytes",
            hint: "Check that both sides run the same version of Muster.")
    }
    /// It was there when it began to come, so that its bytes were not kept.
    static func packCollected(_ id: PackID) -> Refusal {
        Refusal(
            .serviceUnavailable, "pack_collected", "pack \(id) was given up while it was sent",
            hint: "Send it again.", isTransient: true)
    }
    static func forked(_ head: Catalog.Head?) -> Refusal {
        var refusal = Refusal(
            .conflict, "forked", "the lineage stands at another snapshot than this manifest's parent",
            hint:
                "If the head is not this node's own, another agent uses its keys: begin a new lineage and look for it.")
        refusal.head = head
        return refusal
    }
    static func packsMissing(_ packs: [PackID]) -> Refusal {
        var refusal = Refusal(
            .preconditionFailed, "packs_missing", "\(packs.count) packs that the snapshot needs are in no store",
            hint: "Send the missing packs and commit again.")
        refusal.missingPacks = packs
        return refusal
    }

    static func baseMissing(_ base: SnapshotID) -> Refusal {
        Refusal(
            .preconditionFailed, "base_missing", "no store has a good copy of the manifest of snapshot \(base), a base",
            hint: "Commit a full manifest; verify snapshot \(base) to see what else is hit.")
    }
    static func inconsistent(_ reason: String) -> Refusal {
        Refusal(
            .badRequest, "inconsistent", "the manifest does not follow from its lineage: \(reason)",
            hint: "Nothing was changed; if it repeats, remove the database on the node and add it again.")
    }

    /// RFC 4918 section 11.5.
    static let insufficientStorage = HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")

    /// What anything thrown by a route means to the caller.
    init(_ error: any Error) {
        switch error {
        case let error as Refusal: self = error
        case let error as FormatError:
            self.init(.badRequest, "refused", error.summary, hint: error.hint)
        case StoreError.full(let store):
            self.init(
                Self.insufficientStorage, "store_full",
                "store '\(store)' is full",
                hint: "Free space on the store's disk; nothing acknowledged is lost.", isTransient: true)
        case let error as StoreError:
            self.init(
                .serviceUnavailable, "store_failed", error.summary, hint: error.hint, isTransient: true)
        case CatalogError.tooManyDatabases(let limit):
            self = .tooLarge("the node's list of databases", limitBytes: limit)
        case let error as CatalogError:
            self.init(
                .serviceUnavailable, "catalog_failed", error.summary, hint: error.hint,
                isTransient: error.isTransient)
        case is BodyTooSlow: self = .tooSlow
        case is NIOTooManyBytesError:
            self.init(.contentTooLarge, "too_large", "the body is too large", hint: "Send less at once.")
        default:
            self.init(
                .internalServerError, "failed", "the coordinator failed: \(error)",
                hint: "Look at the coordinator's log.")
        }
    }

    var body: Muster_V1_ErrorBody {
        var body = Muster_V1_ErrorBody()
        (body.code, body.summary, body.hint, body.transient) = (code, summary, hint, isTransient)
        body.missingPacks = missingPacks.prefix(10_000).map(\.description)
        if let head {
            body.head.lineageID = head.lineage.description
            body.head.sequence = head.sequence
            body.head.snapshotID = head.snapshot.description
            body.head.manifestHash = head.manifestHash.description
        }
        return body
    }
}
