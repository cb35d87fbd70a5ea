import Foundation
import MusterCatalog
import MusterFormat
import MusterModel

/// What a webhook is sent: names and words for people, no content and no secret.
struct WebhookMessage: Codable, Sendable {
    struct Alarm: Codable, Sendable {
        let kind, severity, node, database, store, summary, hint, since: String
    }

    /// "begun", "changed" (in severity) or "ended".
    let event: String
    let at: String
    /// The coordinator's address, as agents know it.
    let coordinator: String
    let alarm: Alarm

    init(_ change: Catalog.AlarmChange, _ alarm: Catalog.StandingAlarm, coordinator: String, now: Timestamp) {
        (event, at, self.coordinator) = (change.rawValue, now.description, coordinator)
        self.alarm = Alarm(
            kind: alarm.kind.rawValue, severity: alarm.severity.rawValue, node: alarm.node, database: alarm.database,
            store: alarm.store, summary: alarm.summary, hint: alarm.hint, since: alarm.since.description)
    }

    /// - Throws: nothing that a text can cause.
    func encoded() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// The headers that say which event it is and who sent it.
    ///
    /// The signature is HMAC-SHA256 over the time in seconds, a dot and the body: a receiver refuses one that is old, and
    /// what it has seen before goes by the event's number.
    static func headers(of event: Catalog.WebhookEvent, secret: [UInt8]?, now: Timestamp) -> [String: String] {
        var headers = ["content-type": "application/json", "muster-event": String(event.number)]
        guard let secret else { return headers }
        let seconds = now.microseconds / 1_000_000
        let code = KeyDerivation.hmac(key: secret, message: Array("\(seconds).\(event.body)".utf8))
        headers["muster-signature"] = "t=\(seconds),v1=\(Hex.encode(code))"
        return headers
    }
}
