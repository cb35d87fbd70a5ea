import MusterCatalog
import MusterModel

/// Certificates that run out and that no agent renews by itself.
extension Coordinator {
    /// The server's is replaced at the next start.
    private static let serverCertificateMargin = Duration.seconds(60 * 86_400)
    private static let authorityMargin = Duration.seconds(365 * 86_400)
    private static let personCertificateMargin = Duration.seconds(30 * 86_400)
    private static let lastDays = Duration.seconds(7 * 86_400)

    /// Those of the coordinator itself.
    func ownCertificateAlarms(now: Timestamp) -> [FleetAlarm] {
        var alarms: [FleetAlarm] = []
        if let end = serverCertificateEnd, end - now < Self.serverCertificateMargin {
            alarms.append(
                FleetAlarm(
                    .certificate, severity: Self.severity(ofCertificateUntil: end, now: now),
                    "the coordinator's certificate runs out at \(end)",
                    hint: "Restart the coordinator: it makes a new one when it starts."
                ).about("server"))
        }
        let end = authority.notAfter
        if end - now < Self.authorityMargin {
            alarms.append(
                FleetAlarm(
                    .certificate, severity: Self.severity(ofCertificateUntil: end, now: now),
                    "the fleet's certificate authority runs out at \(end)",
                    hint: "Plan a rebuild of the coordinator with a new authority, and let the nodes join it."
                ).about("authority"))
        }
        return alarms
    }

    /// People and their programs cannot renew theirs by themselves, and a monitor that is locked out watches nothing.
    func personCertificateAlarms(now: Timestamp) async throws -> [FleetAlarm] {
        try await catalog.peopleRunningOut(now: now, by: now + Self.personCertificateMargin).map { person in
            let (name, role) = (person.subject, person.role.rawValue)
            return FleetAlarm(
                .certificate, severity: Self.severity(ofCertificateUntil: person.notAfter, now: now),
                "the certificate of '\(name)' (\(role)) runs out at \(person.notAfter)",
                hint:
                    "Make a new one with 'muster person add NEW_NAME --role \(role) --out FILE', and when it is in use "
                    + "end this one with 'muster person revoke \(name) --confirm'."
            ).about("person/\(name)")
        }
    }

    static func severity(ofCertificateUntil end: Timestamp, now: Timestamp) -> AlarmSeverity {
        end - now < lastDays ? .critical : .warning
    }
}
