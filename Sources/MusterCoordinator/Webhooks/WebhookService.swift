import Logging
import MusterCatalog
import MusterModel
import MusterTransfer
import ServiceLifecycle

/// Looks at the fleet from time to time, and tells webhooks what began, what changed and what ended.
///
/// Each webhook gets its events one after the other, and the same one again until it is taken: at least once, in
/// order. One that does not answer keeps none of the others waiting.
struct WebhookService: Service {
    typealias Send = @Sendable (_ webhook: Webhook, _ body: String, _ headers: [String: String]) async throws -> Int

    private static let interval = Duration.seconds(10)
    static let damping = Duration.seconds(60)
    private static let (firstDelay, longestDelay) = (Duration.seconds(5), Duration.seconds(900))
    /// What nobody took for so long is no news any more.
    private static let patience = Duration.seconds(7 * 86_400)
    private static let atOnce = 100

    let coordinator: Coordinator
    private let send: Send
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator, send: @escaping Send) { (self.coordinator, self.send) = (coordinator, send) }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            do {
                try await round()
            } catch {
                coordinator.logger.warning("fleet not looked at", metadata: ["reason": "\(error)"])
            }
            await rounds.wait(true, after: 0, atMost: Self.interval)
        }
    }

    /// One look, and one delivery of what is due.
    func round() async throws {
        try await look()
        let webhooks = coordinator.settings.webhooks
        try await withThrowingTaskGroup(of: Void.self) { group in
            for webhook in webhooks { group.addTask { try await deliver(to: webhook) } }
            try await group.waitForAll()
        }
    }

    private func look() async throws {
        let look = try await coordinator.lookAtFleet()
        let (board, now, settings) = (look.board, look.figures.at, coordinator.settings)
        let standing = board.told.map { alarm in
            var standing = Catalog.StandingAlarm(
                key: alarm.key, kind: alarm.kind, severity: alarm.severity, summary: alarm.summary, hint: alarm.hint,
                since: alarm.since ?? now)
            (standing.node, standing.database, standing.store) = (alarm.node, alarm.database, alarm.store)
            return standing
        }
        try await coordinator.catalog.follow(
            standing, untold: board.untold, now: now, damping: Self.damping
        ) { change, alarm in
            let message = WebhookMessage(change, alarm, coordinator: settings.publicHost, now: now)
            // Texts always encode.
            guard let body = try? message.encoded() else { return [] }
            return settings.webhooks.filter { $0.wants(alarm.kind) }.map { ($0.url, body) }
        }
    }

    private func deliver(to webhook: Webhook) async throws {
        for _ in 0..<Self.atOnce {
            guard !Task.isShuttingDownGracefully, !Task.isCancelled,
                let event = try await coordinator.catalog.dueEvent(of: webhook.url, now: coordinator.clock.now())
            else { return }
            guard try await deliver(event, to: webhook) else { return }
        }
    }

    /// - Returns: false where the next one has to wait.
    private func deliver(_ event: Catalog.WebhookEvent, to webhook: Webhook) async throws -> Bool {
        let now = coordinator.clock.now()
        let reason: String
        do {
            let secret = try webhook.secretFile.map { path in
                Array(try PrivateFile.readText(path).utf8.prefix { $0 != UInt8(ascii: "\n") })
            }
            let headers = WebhookMessage.headers(of: event, secret: secret, now: now)
            let status = try await send(webhook, event.body, headers)
            if (200..<300).contains(status) {
                coordinator.metrics.countWebhook(isTaken: true)
                try await coordinator.catalog.remove(event)
                return true
            }
            reason = "it answered with status \(status)"
        } catch let error as CatalogError {
            throw error
        } catch {
            reason = (error as? any ActionableError)?.summary ?? "\(error)"
        }
        coordinator.metrics.countWebhook(isTaken: false)
        let isLate = now - event.createdAt > Self.patience
        coordinator.logger.warning(
            isLate ? "event given up" : "event not delivered",
            metadata: ["webhook": "\(webhook.server)", "event": "\(event.number)", "reason": "\(reason)"])
        if isLate {
            try await coordinator.catalog.remove(event)
            return true
        }
        let delay = min(Self.longestDelay, Self.firstDelay * (1 << min(event.attempts, 10)))
        try await coordinator.catalog.postpone(event, until: now + delay, reason: reason)
        return false
    }
}

extension Webhook {
    /// Without path and query, which may hold secrets.
    var server: String {
        let start = url.firstRange(of: "://")?.upperBound ?? url.startIndex
        return String(url[start...].prefix { $0 != "/" && $0 != "?" && $0 != "#" })
    }
}

extension Coordinator {
    private static let vainAttempts = 3

    func webhookAlarms() async throws -> [FleetAlarm] {
        guard !settings.webhooks.isEmpty else { return [] }
        return try await catalog.webhookTroubles(attempts: Self.vainAttempts).compactMap { trouble in
            guard let webhook = settings.webhooks.first(where: { $0.url == trouble.url }) else { return nil }
            return FleetAlarm(
                .webhook,
                "webhook at \(webhook.server) has not taken \(trouble.waiting) event\(trouble.waiting == 1 ? "" : "s") "
                    + "since \(trouble.since): \(trouble.reason)",
                hint: "Is its server up, its certificate good, and 'secret_file' readable? "
                    + "Events are sent again for a week.",
                since: trouble.since
            ).of(store: webhook.server)
        }
    }
}

/// Sends by HTTP: TLS is verified, nothing is redirected, and an answer's body does not matter.
final class WebhookSender: Sendable {
    private static let patience = Duration.seconds(20)
    private static let answerBytes = 64 << 10

    private let clients: [String: HTTPClient]

    init(_ webhooks: [Webhook]) throws {
        var clients: [String: HTTPClient] = [:]
        for webhook in webhooks {
            var settings = HTTPClient.Settings()
            settings.takesPublicServers = true
            settings.maximumConnections = 1
            clients[webhook.url] = try HTTPClient(
                tls: TLSFiles(authority: webhook.authorityFile ?? TLSFiles.machine), settings: settings)
        }
        self.clients = clients
    }

    func send(_ webhook: Webhook, _ body: String, _ headers: [String: String]) async throws -> Int {
        guard let client = clients[webhook.url] else { throw CancellationError() }
        return try await client.send(
            HTTPRequest(
                .post, webhook.url, headers: headers, body: .bytes(Array(body.utf8)), timeout: Self.patience,
                maximumResponseBytes: Self.answerBytes)
        ).status
    }

    func shutdown() { for client in clients.values { client.shutdown() } }
}
