import Foundation
import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel
import SwiftProtobuf
import Synchronization

/// Whether a call has a row for the audit: written, or on its way with the change.
final class AuditTrail: Sendable {
    private let isWrittenFlag = Atomic<Bool>(false)

    var isWritten: Bool { isWrittenFlag.load(ordering: .relaxed) }
    func note() { isWrittenFlag.store(true, ordering: .relaxed) }
}

extension RouteRule {
    /// Whether a call that went well leaves a row in the audit, if not the route's own then one with its name.
    ///
    /// That is every route by which a person changes anything, and those that let a node in. What nodes do all day is in
    /// the catalog itself: receipts, reports, verdicts.
    var isAudited: Bool {
        switch plane {
        // A link to the dashboard is given by a coordinator that only reads, too.
        case .admin, .dashboard: !route.isReading || route == .openDashboard
        case .agent: route == .join || route == .renew
        }
    }
}

/// The audit: who changed what, and who was denied.
extension Coordinator {
    private static let mostEntries = 1000
    private static let usualEntries = 100

    /// The row of a change that this call makes: it goes with the change, into one transaction.
    func row(_ call: Call, _ action: String, _ subject: String) -> Catalog.AuditRow {
        call.trail.note()
        return Catalog.AuditRow(actor: call.caller.name, action: action, subject: subject, at: clock.now())
    }

    /// For what is no change of the catalog, or takes many transactions: call it before the first.
    func audit(_ call: Call, _ action: String, _ subject: String) async throws {
        try await catalog.audit(row(call, action, subject))
    }

    /// No route can forget its row: the responder asks for one here after each call that went well.
    func auditIfForgotten(_ call: Call) async throws {
        guard call.rule.isAudited, !call.trail.isWritten else { return }
        try await audit(call, call.rule.route.rawValue, call.parameters.joined(separator: " ").cut(255))
    }

    func listAudit(_ call: Call) async throws -> Response {
        let limit = try Self.number(call, "limit", in: 1...Self.mostEntries) ?? Self.usualEntries
        let before = try Self.number(call, "before", in: 1...Int.max)
        let since: Timestamp? = try call.query("since").map { text in
            guard let since = Timestamp(text) else {
                throw Refusal.invalid("'since' is no RFC 3339 time", hint: "Give 2026-01-31T08:00:00Z.")
            }
            return since
        }
        let entries = try await catalog.auditEntries(
            since: since, actor: call.query("actor"), before: before.map(Int64.init), limit: limit)
        var answer = Muster_V1_AuditList()
        answer.entries = entries.map { entry in
            .with {
                ($0.number, $0.at) = (UInt64(entry.number), entry.at.description)
                ($0.actor, $0.action, $0.subject) = (entry.actor, entry.action, entry.subject)
                $0.hash = Hex.encode(entry.hash)
            }
        }
        if entries.count == limit, let last = entries.last { answer.next = UInt64(last.number) }
        return try call.answer(answer)
    }

    /// Reads the whole audit again, and what a row's hash is that somebody noted before.
    func verifyAudit(_ call: Call) async throws -> Response {
        let row = try Self.number(call, "row", in: 1...Int.max)
        let check = try await checkAudit(row: row.map(Int64.init))
        var answer = Muster_V1_AuditCheck()
        (answer.rows, answer.headHash) = (UInt64(check.rows), Hex.encode(check.headHash))
        answer.firstBroken = UInt64(check.firstBroken ?? 0)
        answer.rowHash = check.rowHash.map { Hex.encode($0) } ?? ""
        if let bytes = try await catalog.setting(PinnedSetting.lostAudit) {
            let lost = try JSONDecoder().decode(LostAudit.self, from: Data(bytes))
            (answer.lostFrom, answer.lostTo) = (UInt64(clamping: lost.first), UInt64(clamping: lost.head.row))
        }
        return try call.answer(answer)
    }

    /// One at a time: it costs as much as the audit is long, and anybody who may look may ask for it.
    func checkAudit(row: Int64? = nil) async throws -> Catalog.AuditCheck {
        try await auditChecks.pass { try await catalog.checkAudit(row: row) }
    }

    private static func number(_ call: Call, _ name: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = call.query(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw Refusal.invalid("'\(name)' is no number in its bounds", hint: "Give one up to \(range.upperBound).")
        }
        return number
    }
}
