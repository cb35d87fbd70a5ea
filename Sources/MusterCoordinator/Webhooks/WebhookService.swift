import Logging
import MusterCatalog
import MusterModel
import MusterTransfer
import ServiceLifecycle

/// Looks at the fleet from time to time, and tells webhooks what began, what changed and what ended.
///
/// Each webhook gets its events one after the other, and the same one again until it is taken: at least once, in
/// order. Each has a loop of its own, with its own place in the queue and its own pauses, so one that is slow or gone
/// keeps neither the others nor the looks waiting.
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

    init(coordinator: Coordinator, send: @escaping Send) { (self.coordinator, self.send) = (coordinator, send) }

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await lookAgainAndAgain() }
            for webhook in coordinator.settings.webhooks { group.addTask { await deliverAgainAndAgain(to: webhook) } }
        }
    }

    private func lookAgainAndAgain() async {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.looks.ticket(.fleet)
            do {
                try await look()
                for webhook in coordinator.settings.webhooks { await coordinator.looks.ring(.events(webhook.url)) }
            } catch {
                coordinator.logger.warning("fleet not looked at", metadata: ["reason": "\(error)"])
            }
            await coordinator.looks.wait(.fleet, after: ticket, atMost: Self.interval)
        }
    }

    private func deliverAgainAndAgain(to webhook: Webhook) async {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.looks.ticket(.events(webhook.url))
            do {
                try await deliver(to: webhook)
            } catch {
                coordinator.logger.warning(
                    "events not delivered", metadata: ["webhook": "\(webhook.server)", "reason": "\(error)"])
            }
            await coordinator.looks.wait(.events(webhook.url), after: ticket, atMost: Self.interval)
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
            let headers = WebhookMessage.headers(of: event, secret: try webhook.secret(), now: now)
            // What is cut off by a shutdown is sent again after it: its receiver may see it twice.
            let status = try await cancelWhenGracefulShutdown { try await send(webhook, event.body, headers) }
            if (200..<300).contains(status) {
                coordinator.metrics.countWebhook(isTaken: true)
                try await coordinator.catalog.remove(event)
                return true
            }
            reason = "it answered with status \(status)"
        } catch let error as CatalogError {
            throw error
        } catch {
            if Task.isShuttingDownGracefully || Task.isCancelled { return false }
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

/// What the service that tells webhooks waits for; it also looks by itself.
enum WebhookCall: Hashable, Sendable {
    case fleet
    /// Of the webhook with this URL.
    case events(String)
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
            // Said at the start, and not when something has happened.
            _ = try webhook.secret()
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
