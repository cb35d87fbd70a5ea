import Hummingbird
import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterServing
import MusterStore

/// One open coordinator: what its routes and background work share.
///
/// It takes packs and manifests in, checks every byte that can be checked
/// without a key, keeps them in stores, and says so with a signed receipt.
/// It sees no plaintext and holds no scope secret.
///
/// | who | beside whom |
/// |---|---|
/// | uploads | `uploads` lets a bounded number write at once, few of one node; one pack of one scope at a time (`packLanes`) |
/// | bodies | `bodies` and `smallBodies` bound their sums in memory |
/// | strangers | `strangers` lets few at once ask without a certificate |
/// | commits | one at a time for each lineage (`lineageLanes`); the catalog's transaction decides |
/// | reports | one at a time for each node (`reportLanes`) |
/// | inspection | reads only; one run after the other |
/// | copies | each store's by itself, few at once (`ReplicationService`, `copyGates`); objects get names of their own |
/// | deletions | gc's alone, each store's by itself, few at once (`Deleting`), and only while the store says who goes on |
/// | a second process | kept out by the directory's lock |
struct Coordinator: Sendable {
    static let version = "0.1.0"
    /// That of `init`; each rebuild takes the next one.
    static let firstEpoch: UInt64 = 1
    /// Bodies up to here do not wait for larger ones.
    static let smallBodyBytes = 4 << 20
    /// Nor do those up to here wait for the largest, which come one at a time.
    static let usualBodyBytes = 16 << 20

    let catalog: Catalog
    let stores: StoreSet
    let authority: Authority
    let receiptKey: SigningKey
    let recoveryKeys: [RecoveryPublicKey]
    /// Of the coordinator's own history.
    let epoch: UInt64
    let settings: CoordinatorSettings
    /// As it stands in the file: a rebuild writes it again.
    let settingsText: String
    let clock: any WallClock
    let random: RandomSource
    let logger: Logger
    let startedAt: Timestamp
    /// When the listeners' certificate runs out.
    let serverCertificateEnd: Timestamp?
    let opening: StoreOpening
    /// What an earlier coordinator knew of replicas counts as not known since then; nil for one that was never lost.
    let rebuiltAt: Timestamp?

    let callers: CallerLookup
    let succession = Succession()
    /// A look at a store's epochs has ended.
    let lookEnds = Bell<Int64>()
    /// How long a store may take to say who goes on.
    let lookPatience: Duration
    let ports = BoundPorts()
    let work = Bell<NodeID>()
    /// A job of the node has ended.
    let endings = Bell<NodeID>()
    let inspections = Bell<Bool>()
    /// A run has to be filled, or an agent may take up an inspection.
    let verifications = Bell<Bool>()
    /// Something may have to be copied.
    let replications = Bell<Bool>()
    /// Replicas that readers refused, and who waits for one.
    let suspicions = SuspicionBook()
    let doubted = Bell<Bool>()
    let wanted = WantedBook()
    let collections = CollectionBook()
    /// gc: one run after the other.
    let collectionLanes = Lanes<Bool>()
    /// A store is to be looked at, object by object.
    let storeChecks = Bell<Bool>()
    let copyPace: CopyPace
    /// Copies of packs into each store.
    let copyGates = GateShares<Int64>(capacity: 8, queueLimit: 64)
    let readingPaces = ReadingPaces()
    let contacts = ContactBook()
    let metrics = CoordinatorMetrics()
    let watch = FleetWatch()
    let looks = Bell<WebhookCall>()
    let denials = DenialBook()
    let troubles = CatalogTroubles()
    let polls = PollBook()
    let probeTries = TryBook<Int64>()
    let twins = TwinBook()
    let connections = NodeConnections()
    let reports = ReportBook()
    let restorations = RestorationBook()
    let fillings = FillingBook()
    /// Who is signed in on the dashboard, and the fleet as it shows it.
    let sessions: SessionBook
    let glances = GlanceBook()
    let load: NodeLoad<NodeID>
    let uploads: Gate
    /// A node's part of `uploads`.
    let uploadShares: GateShares<ScopeID>
    let bodies: Gate
    let largestBody: Gate
    let bodyShares: GateShares<NodeID>
    let smallBodies: Gate
    let smallBodyShares: GateShares<NodeID>
    let strangers = Gate(capacity: 8, queueLimit: 256)
    /// Lists and looks at the whole fleet: each may take some MiB and all of a reader of the catalog.
    let listings = Gate(capacity: 2, queueLimit: 64)
    let auditChecks = Gate(capacity: 1, queueLimit: 16)
    /// One at a time: what is measured is the store, not how many ask it.
    let probing = Gate(capacity: 1, queueLimit: 16)
    let commitMoments: CommitMoments
    let packLanes = Lanes<PackLane>()
    let lineageLanes = Lanes<LineageID>()
    let reportLanes = Lanes<NodeID>()
    /// A node brings its key record back once.
    let keyLanes = Lanes<NodeID>()
    /// Changes of which stores count, one at a time.
    let storeLanes = Lanes<Bool>()
    /// A check of a store begins once.
    let storeCheckLanes = Lanes<Int64>()
    /// What a store has of the coordinator's own is looked at by one at a time.
    let ownObjectLanes = Lanes<Int64>()
    /// The fleet's state and the catalog's backup: of each one at a time.
    let stateLanes = Lanes<Bool>()
    /// Where the catalog is copied to while it is backed up.
    let catalogCopy: String
    let catalogPath: String
    let kept = KeptStates()
    /// For hashing pieces that are too large for the cooperative pool.
    let hashing = BlockingPool(label: "muster-hashing", width: 2)

    init(
        catalog: Catalog, stores: StoreSet, authority: Authority, receiptKey: SigningKey,
        recoveryKeys: [RecoveryPublicKey], epoch: UInt64, settings: CoordinatorSettings, clock: any WallClock,
        random: RandomSource, logger: Logger, opening: StoreOpening, settingsText: String, catalogCopy: String,
        catalogPath: String, lookPatience: Duration,
        rebuiltAt: Timestamp?, serverCertificateEnd: Timestamp? = nil
    ) {
        (self.catalog, self.stores, self.authority) = (catalog, stores, authority)
        (self.receiptKey, self.recoveryKeys, self.settings) = (receiptKey, recoveryKeys, settings)
        (self.epoch, self.settingsText, self.catalogCopy) = (epoch, settingsText, catalogCopy)
        (self.catalogPath, self.lookPatience) = (catalogPath, lookPatience)
        (self.clock, self.random, self.logger) = (clock, random, logger)
        startedAt = clock.now()
        commitMoments = CommitMoments(clock: clock)
        sessions = SessionBook(random: random)
        self.serverCertificateEnd = serverCertificateEnd
        (self.opening, self.rebuiltAt) = (opening, rebuiltAt)
        callers = CallerLookup(catalog: catalog, clock: clock, rebuiltAt: rebuiltAt)
        copyPace = CopyPace(bytesPerSecond: settings.replicationMiBPerSecond << 20, clock: clock)
        load = NodeLoad(limit: settings.limits.requestsPerNode)
        uploads = Gate(capacity: settings.limits.uploads, queueLimit: 1024)
        let perNode = settings.limits.requestsPerNode
        uploadShares = GateShares(capacity: 4, queueLimit: perNode)
        bodies = Gate(capacity: 4 * Self.usualBodyBytes, queueLimit: 1024)
        largestBody = Gate(capacity: 1, queueLimit: 1024)
        bodyShares = GateShares(capacity: 1, queueLimit: perNode)
        smallBodies = Gate(capacity: 8 * Self.smallBodyBytes, queueLimit: 1024)
        smallBodyShares = GateShares(capacity: Self.smallBodyBytes, queueLimit: perNode)
    }

    /// Runs an authorised call; the switch has a case for every route, so none can be forgotten.
    func answer(_ call: Call) async throws -> Response {
        try check(call.rule.route)
        return switch call.rule.route {
        case .join, .renew, .sendKeys: try await answerOnIdentity(call)
        case .missingChunks: try await missingChunks(call)
        case .putPack: try await putPack(call)
        case .grantUploads: try await grantUploads(call)
        case .claimPack: try await claimPack(call)
        case .commitSnapshot: try await commitSnapshot(call)
        case .report: try await report(call)
        case .work: try await work(call)
        case .finishJob: try await finishJob(call)
        case .listSnapshots: try await listSnapshots(call)
        case .showSnapshot: try await showSnapshot(call)
        case .readManifest: try await readManifest(call)
        case .readPack: try await readPack(call)
        case .readKeys: try await readKeys(call)
        case .invite: try await invite(call)
        case .listNodes: try await listings.pass { try await listNodes(call) }
        case .showNode: try await listings.pass { try await showNode(call) }
        case .retireNode: try await endNode(call, as: .retired)
        case .revokeNode: try await endNode(call, as: .revoked)
        case .createFleetSnapshot: try await createFleetSnapshot(call)
        case .listFleetSnapshots: try await listFleetSnapshots(call)
        case .showFleetSnapshot: try await showFleetSnapshot(call)
        case .forgetFleetSnapshot: try await forgetFleetSnapshot(call)
        case .listPeople: try await listPeople(call)
        case .addPerson: try await addPerson(call)
        case .revokePerson: try await revokePerson(call)
        case .listDatabases: try await listings.pass { try await listDatabases(call) }
        case .createSnapshots, .showJob, .restore, .grantRestore, .showRestore, .cancelRestore, .restoreProgress:
            try await answerOnOrders(call)
        case .verify: try await verify(call)
        case .showVerification: try await showVerification(call)
        case .listVerifications: try await listVerifications(call)
        case .listVerificationNodes: try await listVerificationNodes(call)
        case .listVerificationItems: try await listVerificationItems(call)
        case .listDrills: try await listDrills(call)
        case .showCoverage: try await showCoverage(call)
        case .status: try await listings.pass { try await status(call) }
        case .showCollection: try await showCollection(call)
        case .runCollection: try await runCollection(call)
        case .clearAlarms: try await clearAlarms(call)
        case .showRetention, .setRetention, .previewRetention, .applyRetention, .undoRetention, .holdSnapshots,
            .releaseSnapshots, .forgetSnapshots:
            try await answerOnRetention(call)
        case .listStores, .addStore, .changeStore, .probeStore, .showProbe, .checkStore, .showStoreCheck, .repairStore,
            .showStoreRepair:
            try await answerOnStores(call)
        case .metrics: Response(metrics: try await metricFamilies())
        case .listAudit: try await listAudit(call)
        case .verifyAudit: try await verifyAudit(call)
        case .openDashboard: try await openDashboard(call)
        case .enterDashboard, .signIn, .leaveDashboard, .dashboardAsset, .fleetPage, .nodesPage, .nodePage,
            .databasePage, .snapshotPage, .runsPage, .runPage, .fleetSnapshotsPage, .fleetSnapshotPage, .storesPage,
            .alarmsPage, .jobsPage, .auditPage, .snapshotFromPage, .verifyFromPage:
            try await answerOnDashboard(call)
        }
    }
}

/// One pack of one scope.
struct PackLane: Hashable, Sendable {
    let id: PackID
    let scope: ScopeID
}

/// Settings that `init` pins in the catalog.
enum PinnedSetting {
    /// Public recovery keys, 32 bytes each, back to back.
    static let recoveryKeys = "recovery-keys"
    /// The coordinator's epoch in digits; a catalog without it is of the first one.
    static let epoch = "epoch"
    /// Microseconds: what the authority signed before this moment may be unknown here and count all the same.
    static let rebuiltAt = "rebuilt-at"
    /// Names of stores that a rebuild knew of and could not read, each with its placement before and a line end.
    static let unscannedStores = "unscanned-stores"
    /// The head of the audit before the rebuild, as JSON, where what was recovered does not reach it.
    static let lostAudit = "lost-audit"
    /// Digests of the settings of the last start by their top-level keys, as JSON.
    static let settings = "settings-digests"
}
