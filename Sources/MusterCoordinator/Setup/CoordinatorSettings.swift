package import MusterModel
package import MusterServing
import Yams

/// An address to listen on.
package struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) { (self.host, self.port) = (host, port) }

    /// Parses `HOST:PORT` or `[IPv6]:PORT`.
    package init(_ text: String) throws(CoordinatorSetupError) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (0...65_535).contains(port)
        else { throw .badAddress(text: text) }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw .badAddress(text: text)
        }
        guard !host.isEmpty, host.allSatisfy({ $0.isASCII && !$0.isWhitespace && $0 != "/" }) else {
            throw .badAddress(text: text)
        }
        (self.host, self.port) = (String(host), port)
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// True for an address that stands for every interface and so names no machine.
    var isWildcard: Bool { host == "0.0.0.0" || host == "::" }
}

/// `coordinator.yaml`. Keys that are not known are errors: a misspelt limit must not be no limit.
package struct CoordinatorSettings: Hashable, Sendable {
    package struct Limits: Hashable, Sendable {
        /// Open connections on each plane.
        package var connections = 4096
        /// Of these, how many one address may have.
        package var connectionsPerAddress = 512
        /// Packs received at once; more wait in line.
        package var uploads = 16
        /// Requests of one node at once; more are refused.
        package var requestsPerNode = 64
        /// How long a node may be silent, or a database behind its schedule, before that is an alarm.
        package var alarmToleranceSeconds = 60

        package init() {}
    }

    package var listen: ListenAddress
    package var adminListen: ListenAddress
    /// Of the dashboard; nil for none.
    package var dashboardListen: ListenAddress?
    /// The host that agents and admins are told to use; nil for the one listened on.
    package var advertise: String?
    /// More names for the server's certificate.
    package var names: [String] = []
    package var limits = Limits()
    package var quota = Quota()
    package var placement = Placement()
    /// Of background copies from store to store; 0 for no limit.
    package var replicationMiBPerSecond = 64
    /// How often the policies of retention are applied; nil for never, but by a person.
    package var retentionEvery: Duration? = .seconds(3600)
    /// How often the catalog is backed up into the stores; nil for never.
    package var catalogBackupEvery: Duration? = .seconds(3600)
    package var scrub = Scrub()
    /// How long a database may go with changes and without a receipt; nil for what its schedule explains.
    package var freshness: Duration?
    package var alarms = Alarms()
    package var verification = Verification()
    /// Where metrics are told without TLS; nil for nowhere but on the admin plane.
    package var metricsListen: LoopbackAddress?
    package var webhooks: [Webhook] = []
    /// How often gc gives up what no snapshot needs; nil for never, but by a person.
    package var collectionEvery: Duration? = .seconds(3600)
    /// How long what gc condemned stays before it is given up.
    package var collectionGrace = Duration.seconds(86_400)
    /// Whether nodes may put packs straight into stores that were proven for it.
    package var signedUploads = true

    /// How every replica is read again.
    package struct Scrub: Hashable, Sendable {
        /// Within which time; a week.
        package var everySeconds = 7 * 86_400
        /// In each store; 0 for no limit.
        package var mibPerSecond = 32

        package init() {}
    }

    package init(
        listen: ListenAddress = ListenAddress(host: "127.0.0.1", port: 7420), adminListen: ListenAddress? = nil
    ) {
        self.listen = listen
        self.adminListen =
            adminListen ?? ListenAddress(host: listen.host, port: listen.port == 0 ? 0 : listen.port + 1)
        dashboardListen = Self.dashboard(beside: listen)
    }

    /// The host in the URLs that are given out.
    package var publicHost: String { advertise ?? (listen.isWildcard ? "localhost" : listen.host) }

    func url(port: Int) -> String { "https://" + ListenAddress(host: publicHost, port: port).description }

    /// Names and addresses that the server's certificate is good for.
    var serverNames: [String] {
        var names: [String] = []
        let listened = [listen.host, adminListen.host] + (dashboardListen.map { [$0.host] } ?? [])
        let wanted = [publicHost] + listened + ["localhost", "127.0.0.1", "::1"] + self.names
        for name in wanted where !names.contains(name) && name != "0.0.0.0" && name != "::" { names.append(name) }
        return names
    }

    func yaml() -> String {
        var lines = [
            "# Muster's coordinator. Unknown keys are errors.",
            "listen: \"\(listen)\"",
            "admin_listen: \"\(adminListen)\"",
        ]
        if let advertise { lines.append("advertise: \"\(advertise)\"") }
        return lines.joined(separator: "\n") + "\n"
    }

    init(yaml: String) throws(CoordinatorSetupError) {
        let root: Node?
        do { root = try compose(yaml: yaml) } catch { throw .badSettings(reason: "it is no YAML: \(error)") }
        guard let mapping = root?.mapping else { throw .badSettings(reason: "it must be a list of 'key: value' lines") }
        self.init()
        var adminListen: ListenAddress?
        var dashboardListen: ListenAddress??
        for (key, value) in mapping {
            switch key.string {
            case "listen": self = Self(listen: try ListenAddress(try Self.text(value, "listen")), keeping: self)
            case "admin_listen": adminListen = try ListenAddress(try Self.text(value, "admin_listen"))
            case "dashboard_listen": dashboardListen = try Self.dashboard(try Self.text(value, "dashboard_listen"))
            case "advertise": advertise = try Self.text(value, "advertise")
            case "names": names = try Self.texts(value, "names")
            case "limits": limits = try Limits(value)
            case "quota": quota = try Quota(value)
            case "scrub": scrub = try Scrub(value)
            case "verification": verification = try Verification(value)
            case "placement": placement = try Placement(value)
            case "replication_mib_per_second":
                guard let rate = value.int, (0...100_000).contains(rate) else {
                    throw .badSettings(reason: "'replication_mib_per_second' must be a number from 0 to 100000")
                }
                replicationMiBPerSecond = rate
            case "catalog_backup_every":
                catalogBackupEvery = try Self.period(value, "catalog_backup_every")
            case "gc_every": collectionEvery = try Self.period(value, "gc_every")
            case "gc_grace_seconds":
                guard let seconds = value.int, (0...31_536_000).contains(seconds) else {
                    throw .badSettings(reason: "'gc_grace_seconds' must be a number from 0 to 31536000")
                }
                collectionGrace = .seconds(seconds)
            case "freshness": freshness = try Self.span(value, "freshness")
            case "metrics_listen": metricsListen = try Self.loopback(value)
            case "webhooks": webhooks = try Self.webhooks(value)
            case "alarms": alarms = try Alarms(value)
            case "signed_uploads": signedUploads = try Self.signedUploads(value)
            case "retention_every": retentionEvery = try Self.period(value, "retention_every")
            default: throw .badSettings(reason: "unknown key '\(key.string ?? "?")'")
            }
        }
        if let adminListen { self.adminListen = adminListen }
        if let dashboardListen { self.dashboardListen = dashboardListen }
    }

    private init(listen: ListenAddress, keeping settings: Self) {
        self.init(listen: listen)
        (advertise, names, limits) = (settings.advertise, settings.names, settings.limits)
        quota = settings.quota
        (placement, replicationMiBPerSecond) = (settings.placement, settings.replicationMiBPerSecond)
        (retentionEvery, catalogBackupEvery) = (settings.retentionEvery, settings.catalogBackupEvery)
        (scrub, freshness, alarms) = (settings.scrub, settings.freshness, settings.alarms)
        verification = settings.verification
        (metricsListen, webhooks) = (settings.metricsListen, settings.webhooks)
        (collectionEvery, collectionGrace) = (settings.collectionEvery, settings.collectionGrace)
        signedUploads = settings.signedUploads
    }

    private static func text(_ node: Node, _ key: String) throws(CoordinatorSetupError) -> String {
        guard let text = node.string, !text.isEmpty else { throw .badSettings(reason: "'\(key)' must be a text") }
        return text
    }

    static func period(_ node: Node, _ key: String) throws(CoordinatorSetupError) -> Duration? {
        let text = try text(node, key)
        if text == "never" { return nil }
        guard let period = Duration(text: text), period >= .seconds(60) else {
            throw .badSettings(reason: "'\(key)' must be a time of a minute or more, such as 1h, or never")
        }
        return period
    }

    private static func texts(_ node: Node, _ key: String) throws(CoordinatorSetupError) -> [String] {
        guard let sequence = node.sequence else { throw .badSettings(reason: "'\(key)' must be a list") }
        var texts: [String] = []
        for item in sequence { texts.append(try text(item, key)) }
        return texts
    }
}

extension CoordinatorSettings.Limits {
    init(_ node: Node) throws(CoordinatorSetupError) {
        guard let mapping = node.mapping else { throw .badSettings(reason: "'limits' must hold 'key: number' lines") }
        self.init()
        for (key, value) in mapping {
            guard let number = value.int, (1...1_000_000).contains(number) else {
                throw .badSettings(reason: "limit '\(key.string ?? "?")' must be a number from 1 to 1000000")
            }
            switch key.string {
            case "connections": connections = number
            case "connections_per_address": connectionsPerAddress = number
            case "uploads": uploads = number
            case "requests_per_node": requestsPerNode = number
            case "alarm_tolerance_seconds": alarmToleranceSeconds = number
            default: throw .badSettings(reason: "unknown limit '\(key.string ?? "?")'")
            }
        }
    }
}

extension CoordinatorSettings.Scrub {
    init(_ node: Node) throws(CoordinatorSetupError) {
        guard let mapping = node.mapping else { throw .badSettings(reason: "'scrub' must hold 'key: number' lines") }
        self.init()
        for (key, value) in mapping {
            switch (key.string, value.int) {
            case ("every_seconds", let seconds?) where (1...31_536_000).contains(seconds): everySeconds = seconds
            case ("mib_per_second", let rate?) where (0...100_000).contains(rate): mibPerSecond = rate
            case ("every_seconds", _), ("mib_per_second", _):
                throw .badSettings(reason: "scrub '\(key.string ?? "?")' must be a number in its bounds")
            default: throw .badSettings(reason: "unknown scrub key '\(key.string ?? "?")'")
            }
        }
    }
}

extension Placement {
    init(_ node: Node) throws(CoordinatorSetupError) {
        guard let mapping = node.mapping else {
            throw .badSettings(reason: "'placement' must hold 'key: number' lines")
        }
        self.init()
        for (key, value) in mapping {
            guard let number = value.int, (1...Self.mostReplicas).contains(number) else {
                throw .badSettings(
                    reason: "placement '\(key.string ?? "?")' must be a number from 1 to \(Self.mostReplicas)")
            }
            switch key.string {
            case "replicas": replicas = number
            case "sites": sites = number
            case "before_receipt": beforeReceipt = number
            default: throw .badSettings(reason: "unknown placement '\(key.string ?? "?")'")
            }
        }
        if let replicas, beforeReceipt > replicas {
            throw .badSettings(reason: "'before_receipt' cannot be more than 'replicas'")
        }
    }
}
