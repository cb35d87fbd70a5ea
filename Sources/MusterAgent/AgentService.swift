import AsyncAlgorithms
import Logging
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import MusterTransfer
import ServiceLifecycle
import Synchronization

/// The agent of one node: takes snapshots when they are due or asked for, and reports.
///
/// | runs beside the others | holds |
/// |---|---|
/// | the schedule, one loop for all databases | nothing |
/// | each snapshot under way | its database, and its weight in the turnstile |
/// | the long poll for jobs | one connection |
/// | the report, every 30 s and when something went wrong, or well again | nothing |
/// | the certificate's renewal, looked at every hour | nothing |
///
/// On graceful shutdown snapshots under way are finished and no new one starts.
/// It may be killed at any point: see `SnapshotTaker` and `AgentState`.
package final class AgentService: Service {
    private let directory: AgentDirectory
    private let environment: AgentEnvironment
    private let reloads: AsyncStream<Void>
    private let overrides: [String: String]
    private let sessions = Mutex<SourceSessions?>(nil)

    /// - Parameters:
    ///   - overrides: configuration from the environment, by key.
    ///   - reloads: one element for each SIGHUP.
    package init(
        directory: AgentDirectory, environment: AgentEnvironment, overrides: [String: String],
        reloads: AsyncStream<Void>
    ) {
        (self.directory, self.environment) = (directory, environment)
        (self.overrides, self.reloads) = (overrides, reloads)
    }

    /// True if something that holds locks on a database stands still. Any thread may ask.
    package var isStalled: Bool { sessions.withLock { $0 }?.isStalled ?? false }

    package func run() async throws {
        guard directory.isJoined else { throw AgentDirectoryError.notJoined(directory.path) }
        // First the lock, then the file: 'database add' writes the file, then looks at the lock. Whatever it
        // finds, the change is either read here or told by SIGHUP.
        let lock = try await DirectoryLock.take(directory, sleep: environment.sleep)
        defer { lock.release() }
        let (configuration, version) = try directory.versionedConfiguration(overrides: overrides)
        let crew = try AgentCrew(directory: directory, configuration: configuration, environment: environment)
        defer { crew.shutdown() }
        sessions.withLock { $0 = crew.sessions }
        crew.roster.noteApplied(version)
        crew.startWatching()
        environment.logger.info(
            "agent started",
            metadata: [
                "node": "\(configuration.nodeName)", "databases": "\(configuration.databases.count)",
                "coordinator": "\(configuration.coordinatorURL)",
            ])
        try await withGracefulShutdownHandler {
            try await work(crew)
        } onGracefulShutdown: {
            crew.stopTaking()
        }
        environment.logger.info("agent stopped")
    }

    /// Ends when the schedule and the jobs have: they finish what is under way. The others are cut off then.
    private func work(_ crew: AgentCrew) async throws {
        enum Part { case taking, serving }
        try await withThrowingTaskGroup(of: Part.self) { group in
            group.addTask {
                try await crew.schedule.run()
                return .taking
            }
            group.addTask {
                try await crew.jobs.run()
                return .taking
            }
            for serve in [
                crew.reporter.run, crew.metricsListener.run, crew.renewal.run, crew.roster.run, crew.park,
                crew.memory.run,
                { await self.reload(crew) },
            ]
                as [@Sendable () async throws -> Void]
            {
                group.addTask {
                    try await serve()
                    return .serving
                }
            }
            var takers = 2
            while takers > 0, let part = try await group.next() {
                if part == .taking { takers -= 1 }
            }
            group.cancelAll()
        }
        await crew.leave()
    }

    private func reload(_ crew: AgentCrew) async {
        for await _ in reloads {
            do {
                let (configuration, version) = try directory.versionedConfiguration(overrides: overrides)
                crew.roster.use(configuration, version)
            } catch {
                let reason = (error as? any ActionableError)?.summary ?? "\(error)"
                environment.logger.error("configuration not reloaded", metadata: ["reason": "\(reason)"])
            }
        }
    }
}

/// Everything that works for one run of the agent, built once.
struct AgentCrew: Sendable {
    let schedule: ScheduleLoop
    let jobs: JobLoop
    let reporter: Reporter
    let renewal: Renewal
    let roster: Roster
    let memory: MemoryReturn
    let metricsListener: AgentMetricsListener
    private let watch: FolderWatch?
    let sessions: SourceSessions
    private let coordinator: CoordinatorClient
    private let uploads: SignedUploads

    init(directory: AgentDirectory, configuration: AgentConfiguration, environment: AgentEnvironment) throws {
        let identity = try NodeIdentity(directory: directory, node: configuration.nodeID)
        let receiptKey = try Self.receiptKey(directory)
        try directory.emptyScratch()
        let state = try AgentState(path: directory.stateFile)
        coordinator = try Self.client(directory: directory, configuration: configuration, environment: environment)
        uploads = Self.uploads(coordinator, configuration, environment)

        let machine = Self.hashed(environment.machine, of: identity.node)
        let lanes = configuration.cores > 0 ? configuration.cores : environment.cores
        let cache = try PackCache(folder: directory.packCache, quotaBytes: configuration.cacheBytes)
        let pipeline = SnapshotPipeline(
            settings: SealingSettings(
                keys: identity.keys, signingKey: identity.signingKey, lanes: lanes, cache: cache),
            clock: environment.clock, monotonic: environment.monotonic)
        let offer = PackOffer(cache: cache, coordinator: coordinator, logger: environment.logger)
        let files = BlockingPool(label: "muster-sources", width: 4)
        memory = MemoryReturn(files: files, environment: environment)
        watch = Self.folderWatch(environment.logger)
        let wakes = WakeWatch(watch)
        let (metrics, marks, turnstile) = (AgentMetrics(), SourceMarks(identity), Turnstile(room: Snapshots.room))
        metricsListener = .init(metrics: metrics, address: configuration.metricsListen, logger: environment.logger)
        let sessions = SourceSessions(state: state, files: files, watch: wakes, environment: environment)
        self.sessions = sessions
        roster = try Roster(
            directory: directory, configuration: configuration, state: state, watch: watch, wakes: wakes,
            environment: environment
        ) { await sessions.leave($0) }
        let board = roster.board
        let taker = SnapshotTaker(
            identity: identity, receiptKey: receiptKey, state: state, coordinator: coordinator, uploads: uploads,
            pipeline: pipeline, offer: offer, sessions: sessions, files: files,
            writes: BlockingPool(label: "muster-state", width: 1), marks: marks, metrics: metrics,
            environment: environment)
        // Of its own: a report is not to wait behind snapshots on a disk that does not answer, nor they behind it.
        let looks = BlockingPool(label: "muster-looks", width: 1)
        reporter = Reporter(
            board: board, state: state, sessions: sessions, coordinator: coordinator, files: looks,
            period: configuration.reportEvery, marks: marks, metrics: metrics,
            surroundings: .init(
                path: directory.stateFile, cache: cache, turnstile: turnstile, machine: machine,
                grantKey: GrantKey.statement(of: identity.node, signer: identity.signingKey)),
            environment: environment)
        let snapshots = Snapshots(
            board: board, taker: taker, sessions: sessions, state: state, turnstile: turnstile, reporter: reporter,
            metrics: metrics, files: files, environment: environment)
        schedule = ScheduleLoop(
            board: board, snapshots: snapshots, sessions: sessions, state: state, environment: environment)
        let verifier = NodeVerification(
            coordinator: coordinator, identity: identity, state: state, scratch: directory.scratch,
            limits: configuration.inspection, lanes: lanes, environment: environment)
        let restorer = NodeRestore(
            coordinator: coordinator, directory: directory, identity: identity, lanes: lanes, environment: environment)
        jobs = JobLoop(
            board: board, snapshots: snapshots, verification: verifier, restoration: restorer, offer: offer,
            keyOffer: KeyOffer(identity, configuration.nodeName, directory, coordinator, environment),
            coordinator: coordinator, machine: machine, environment: environment)
        renewal = Renewal(
            directory: directory, identity: identity, url: configuration.coordinatorURL, environment: environment)
    }

    private static func folderWatch(_ logger: Logger) -> FolderWatch? {
        let watch = FolderWatch()
        if watch == nil { logger.warning("no inotify left: databases are compared from time to time, not followed") }
        return watch
    }

    private static func uploads(
        _ coordinator: CoordinatorClient, _ configuration: AgentConfiguration, _ environment: AgentEnvironment
    ) -> SignedUploads {
        SignedUploads(
            coordinator: coordinator, url: configuration.coordinatorURL, uploadLimit: uploadLimit(configuration),
            environment: environment)
    }

    private static func receiptKey(_ directory: AgentDirectory) throws -> VerifyingKey {
        let text = try PrivateFile.text(at: directory.receiptKeyFile).prefix { $0 != "\n" }
        guard let key = Hex.decode(text).flatMap({ VerifyingKey(bytes: $0) }) else {
            throw AgentDirectoryError.damagedFile(directory.receiptKeyFile)
        }
        return key
    }

    /// Takes up no new snapshot; those under way are finished.
    func stopTaking() { schedule.stop() }

    /// Parks databases that have been quiet.
    func park() async throws { try await sessions.run(roster.board) }

    /// Gives every lock back.
    func leave() async { await sessions.leaveAll() }

    /// Tells of changes in folders, from now on.
    func startWatching() {
        let (roster, sessions) = (roster, sessions)
        watch?.start { changes in
            sessions.note(changes, roster.board)
            roster.note(changes)
        }
    }

    func shutdown() {
        watch?.stop()
        uploads.shutdown()
        coordinator.shutdown()
    }

    /// With the node's id, so that nobody can tell from it which nodes share a machine.
    private static func hashed(_ machine: String, of node: NodeID) -> String {
        guard !machine.isEmpty else { return "" }
        return SHA256Hasher.hash(Array("muster/1/machine\0\(node)\0\(machine)".utf8), as: Digest<MachineKind>.self)
            .description
    }

    private static func client(
        directory: AgentDirectory, configuration: AgentConfiguration, environment: AgentEnvironment
    ) throws -> CoordinatorClient {
        let tls = TLSFiles(
            authority: directory.authorityFile,
            identity: .init(certificate: directory.certificateFile, key: directory.certificateKeyFile))
        return CoordinatorClient(
            http: try HTTPClient(tls: tls), url: configuration.coordinatorURL,
            retry: .init(
                policy: RetryPolicy(maximumAttempts: 8, maximumDelay: .seconds(10), maximumTotal: .seconds(60)),
                random: environment.random, clock: ContinuousClock()),
            uploadLimit: uploadLimit(configuration))
    }

    /// libcurl limits each transfer by itself, and this many packs are under way at once.
    private static func uploadLimit(_ configuration: AgentConfiguration) -> Int? {
        configuration.uploadLimitBytes > 0
            ? max(1, configuration.uploadLimitBytes / SealingSettings.packsInFlight) : nil
    }
}

private enum MachineKind {}
