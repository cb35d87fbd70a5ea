import Hummingbird
import HummingbirdCore
import HummingbirdTLS
package import Logging
import MusterCatalog
import MusterFormat
package import MusterModel
import MusterServing
package import MusterStore
import NIOCore
import NIOSSL
import ServiceLifecycle

/// A coordinator that runs: three listeners over one catalog and its stores.
///
/// On graceful shutdown requests under way are finished and no new ones are
/// taken. It may be killed at any point: everything acknowledged is durable,
/// and the next start completes what was begun.
package struct CoordinatorService: Service {
    /// RELIABILITY: header at most 16 KiB and 64 fields.
    private static let headerBytes = 16 << 10
    private static let headerFields = 64
    private static let idleTimeout = TimeAmount.seconds(75)

    let coordinator: Coordinator
    private let server: ServerIdentity
    private let lock: DirectoryLock
    /// Of the plain listener for metrics, where the settings want one.
    let metricsPort = OpenPort()

    /// Opens the coordinator that `initialise` made in `directory`.
    ///
    /// Completes receipts that a crash left unfinished, as far as the stores take them. Another process in the same directory is refused.
    /// - Parameter storePatience: how long a node that keeps a store may take to answer at all, and any store to say
    ///   which coordinator goes on.
    /// - Parameter patience: for tests: how long a call into a store of that name may take; nil for as long as usual.
    /// - Parameter wrapStore: for tests: puts faults between the coordinator and each of its stores.
    package init(
        directory: CoordinatorDirectory, clock: some WallClock, random: RandomSource, logger: Logger,
        storePatience: Duration = .seconds(5), patience: @escaping @Sendable (String) -> StorePatience? = { _ in nil },
        wrapStore: @escaping @Sendable (any Store) -> any Store = { $0 }
    ) async throws {
        let settingsText = try Self.settingsText(directory)
        let settings = try CoordinatorSettings(yaml: settingsText)
        lock = try DirectoryLock(directory)
        let authority = try Authority(
            certificatePEM: try PrivateFile.readText(directory.authority),
            keyPEM: try PrivateFile.readText(directory.authorityKey))
        let receiptKeyText = try PrivateFile.readText(directory.receiptKey).filter { !$0.isWhitespace }
        guard let receiptKey = Hex.decode(receiptKeyText).flatMap({ SigningKey(privateBytes: $0) }) else {
            throw CoordinatorSetupError.fileFailed(path: directory.receiptKey, reason: "it is no key")
        }
        server = try ServerIdentity.current(
            in: directory, settings: settings, authority: authority, random: random, now: clock.now())
        let catalog = try Catalog(path: directory.catalog, names: .stored) { Coordinator.hash($0) }
        let pinned = try await catalog.setting(PinnedSetting.recoveryKeys) ?? []
        let recoveryKeys = stride(from: 0, to: pinned.count, by: 32).compactMap {
            RecoveryPublicKey(bytes: pinned[$0..<min($0 + 32, pinned.count)])
        }
        let entries = try await catalog.stores().filter { $0.state != .lost }
        guard !entries.isEmpty else { throw CoordinatorSetupError.noStore }
        let opening = StoreOpening(
            catalog: catalog, clock: clock, wrap: wrapStore,
            reach: StoreReach(
                random: random,
                nodes: try NodeStoreAccess(
                    authority: authority, directory: directory, random: random, now: clock.now(),
                    patience: storePatience),
                s3: try S3StoreAccess(
                    directory: directory, random: random, clock: clock, patience: storePatience)),
            patience: patience)
        coordinator = Coordinator(
            catalog: catalog,
            stores: StoreSet(try entries.map(opening.connect), placement: settings.placement), authority: authority,
            receiptKey: receiptKey, recoveryKeys: recoveryKeys,
            epoch: try await Self.number(PinnedSetting.epoch, in: catalog).map { UInt64($0) } ?? Coordinator.firstEpoch,
            settings: settings, clock: clock, random: random, logger: logger, opening: opening,
            settingsText: settingsText, catalogCopy: directory.catalogCopy, catalogPath: directory.catalog,
            lookPatience: storePatience,
            rebuiltAt: try await Self.number(PinnedSetting.rebuiltAt, in: catalog).map(Timestamp.init(microseconds:)),
            serverCertificateEnd: server.notAfter)
        if let shortfall = coordinator.stores.receiptShortfall {
            logger.error(
                "no receipt can be given", metadata: ["reason": "\(shortfall)", "hint": "\(StoreSet.receiptHint)"])
        }
        if try await coordinator.mayWrite() {
            try await coordinator.auditSettings()
            try await coordinator.completeReceipts()
            await coordinator.keepChangeSoon()
        }
        try await catalog.concludeClosedJobs(now: clock.now())
    }

    /// The port that a plane's listener got; waits until it has one.
    package func port(of plane: Plane) async -> Int { await coordinator.ports.port(of: plane) }

    package func run() async throws {
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await serve())
        } catch {
            outcome = .failure(error)
        }
        // The last words of a program that ends: there is nobody to tell.
        try? await coordinator.catalog.close()
        try outcome.get()
    }

    private func serve() async throws {
        let sender = try WebhookSender(coordinator.settings.webhooks)
        defer { sender.shutdown() }
        try await coordinator.catalog.dropEvents(exceptOf: coordinator.settings.webhooks.map(\.url))
        var services: [any Service] = [
            try application(.agent, coordinator.settings.listen),
            try application(.admin, coordinator.settings.adminListen),
            DashboardService(coordinator: coordinator) { try application(.dashboard, $0) },
            InspectionService(coordinator: coordinator),
            VerificationService(coordinator: coordinator),
            ReplicationService(coordinator: coordinator),
            BalanceService(coordinator: coordinator),
            ScrubService(coordinator: coordinator),
            SuspicionService(coordinator: coordinator),
            StoreCheckService(coordinator: coordinator),
            CatalogBackupService(coordinator: coordinator),
            FleetStateService(coordinator: coordinator),
            SuccessionService(coordinator: coordinator),
            RecallService(coordinator: coordinator),
            HousekeepingService(coordinator: coordinator),
            RetentionService(coordinator: coordinator),
            CollectionService(coordinator: coordinator),
            DenialService(coordinator: coordinator),
            WebhookService(coordinator: coordinator, send: sender.send),
        ]
        if let address = coordinator.settings.metricsListen {
            services.append(
                MetricsListener(
                    address, logger: coordinator.logger, openPort: metricsPort,
                    families: { [coordinator] in try await coordinator.metricFamilies() }))
        }
        let group = ServiceGroup(configuration: .init(services: services, logger: coordinator.logger))
        try await group.run()
        try await coordinator.catalog.settle()
        withExtendedLifetime(lock) {}
    }

    private func application(
        _ plane: Plane, _ address: ListenAddress
    ) throws -> Application<PlaneResponder> {
        let addresses = AddressCounts(limit: coordinator.settings.limits.connectionsPerAddress)
        // The handlers are made for each connection as long as the listener is there: they must not hold this service,
        // and with it the directory's lock.
        let coordinator = coordinator
        var channel = HTTP1Channel.Configuration(
            additionalChannelHandlers: [
                AddressLimit(addresses), ReadBuffers(),
                HandshakeWatch { coordinator.note($0, on: plane, from: $1) },
            ], idleTimeout: Self.idleTimeout)
        channel.httpDecoder.maxHeaderFieldSize = Self.headerBytes
        channel.httpDecoder.maxHeaderListSize = Self.headerBytes
        channel.httpDecoder.maxHeaderFieldCount = Self.headerFields
        let ports = coordinator.ports
        return Application(
            responder: PlaneResponder(plane: plane, coordinator: coordinator),
            server: try .tls(.http1(configuration: channel), tlsConfiguration: try tls(plane)),
            configuration: ApplicationConfiguration(
                address: .hostname(address.host, port: address.port), serverName: "muster",
                availableConnectionsDelegate: .maximum(
                    coordinator.settings.limits.connections, logger: coordinator.logger)),
            onServerRunning: { channel in
                await ports.bind(plane, to: channel.localAddress?.port ?? address.port)
            },
            logger: coordinator.logger)
    }

    /// TLS 1.3 only; the only trusted root is our own authority.
    private func tls(_ plane: Plane) throws -> TLSConfiguration {
        let chain = try NIOSSLCertificate.fromPEMBytes(Array(server.certificatePEM.utf8))
        let key = try NIOSSLPrivateKey(bytes: Array(server.keyPEM.utf8), format: .pem)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv13
        let authority = try NIOSSLCertificate.fromPEMBytes(Array(try coordinator.authority.certificatePEM.utf8))
        configuration.trustRoots = .certificates(authority)
        switch plane {
        case .agent: configuration.certificateVerification = .optionalVerification
        case .admin: configuration.certificateVerification = .noHostnameVerification
        // Browsers have none; a session says who it is.
        case .dashboard: configuration.certificateVerification = .none
        }
        return configuration
    }

    private static func number(_ setting: String, in catalog: Catalog) async throws -> Int64? {
        guard let bytes = try await catalog.setting(setting) else { return nil }
        guard let number = Int64(String(decoding: bytes, as: UTF8.self)), number >= 0 else {
            throw CatalogError.damaged(column: "setting.\(setting)")
        }
        return number
    }

    /// - Throws: what a start would throw for the settings as they stand now.
    package static func checkSettings(in directory: CoordinatorDirectory) throws(CoordinatorSetupError) {
        let settings = try CoordinatorSettings(yaml: try settingsText(directory))
        for webhook in settings.webhooks { _ = try webhook.secret() }
    }

    static func settingsText(_ directory: CoordinatorDirectory) throws(CoordinatorSetupError) -> String {
        do {
            return try PrivateFile.readText(directory.settings)
        } catch {
            throw .notACoordinator(path: directory.path)
        }
    }
}
