import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import MusterModel
import MusterServing
import MusterStore
import NIOCore
import NIOSSL
import ServiceLifecycle

/// Keeps a store on this node for the fleet's coordinator, its only client (`proto/node-store.md`).
///
/// On graceful shutdown requests under way are finished and no new ones are taken. It may be killed at any point: what
/// was acknowledged is durable, and what was under way is gone with the next start.
package struct NodeStoreService: Service {
    package struct Settings: Sendable {
        /// The store's folder; made if it does not exist.
        package var path: String
        package var host: String
        package var port: Int
        /// What all objects together may hold; nil for all of the disk.
        package var quotaBytes: UInt64?

        package init(path: String, host: String, port: Int, quotaBytes: UInt64? = nil) {
            (self.path, self.host, self.port, self.quotaBytes) = (path, host, port, quotaBytes)
        }
    }

    private static let headerBytes = 16 << 10
    private static let headerFields = 64
    private static let idleTimeout = TimeAmount.seconds(75)
    private static let connections = 256
    private static let connectionsPerAddress = 32
    private static let identityPeriod = Duration.seconds(60)

    private let settings: Settings
    private let environment: AgentEnvironment
    private let identity: ServingIdentity
    private let renewal: Renewal
    private let keeper: NodeStoreKeeper
    private let openPort = OpenPort()

    /// Opens the store in the folder, or makes it; with a quota this reads the size of every object.
    package init(directory: AgentDirectory, settings: Settings, environment: AgentEnvironment) async throws {
        (self.settings, self.environment) = (settings, environment)
        let configuration = try directory.configuration()
        identity = try ServingIdentity(directory: directory)
        renewal = Renewal(
            directory: directory, identity: try NodeIdentity(directory: directory, node: configuration.nodeID),
            url: configuration.coordinatorURL, environment: environment)
        let store = try await Self.openStore(settings.path, environment)
        let quota = try await StoreQuota(of: store, limitBytes: settings.quotaBytes)
        keeper = NodeStoreKeeper(store: store, quota: quota, monotonic: environment.monotonic)
    }

    /// The port that the listener got; waits until it has one.
    package func port() async -> Int { await openPort.wait() }

    package func run() async throws {
        let group = ServiceGroup(
            configuration: .init(services: [try application(), upkeep], logger: environment.logger))
        try await group.run()
    }

    private static func openStore(_ path: String, _ environment: AgentEnvironment) async throws -> FolderStore {
        let name = "served"
        do {
            return try await FolderStore.open(at: path, name: name, random: environment.random)
        } catch StoreError.notAStore {
            return try await FolderStore.create(
                at: path, name: name, random: environment.random, clock: environment.clock)
        }
    }

    private func application() throws -> Application<NodeStoreResponder> {
        let addresses = AddressCounts(limit: Self.connectionsPerAddress)
        var channel = HTTP1Channel.Configuration(
            additionalChannelHandlers: [AddressLimit(addresses)], idleTimeout: Self.idleTimeout)
        channel.httpDecoder.maxHeaderFieldSize = Self.headerBytes
        channel.httpDecoder.maxHeaderListSize = Self.headerBytes
        channel.httpDecoder.maxHeaderFieldCount = Self.headerFields
        let (openPort, logger, port) = (openPort, environment.logger, settings.port)
        return Application(
            responder: NodeStoreResponder(keeper: keeper, clock: environment.clock),
            server: try .tls(.http1(configuration: channel), tlsConfiguration: identity.configuration),
            configuration: ApplicationConfiguration(
                address: .hostname(settings.host, port: port), serverName: "muster",
                availableConnectionsDelegate: .maximum(Self.connections, logger: logger)),
            onServerRunning: { channel in
                let bound = channel.localAddress?.port ?? port
                logger.info("store is served", metadata: ["port": "\(bound)"])
                await openPort.set(bound)
            },
            logger: logger)
    }

    /// Renews the certificate and takes up a new one, whoever renewed it.
    private var upkeep: Upkeep {
        Upkeep { [renewal, identity, environment] in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await renewal.run() }
                group.addTask {
                    while !Task.isCancelled {
                        try await environment.sleep(Self.identityPeriod)
                        identity.reload(logger: environment.logger)
                    }
                }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }
}

/// Work that goes on until the service ends.
private struct Upkeep: Service {
    let body: @Sendable () async throws -> Void

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await body() }
        } catch is CancellationError {
            // That is its end.
        }
    }
}
