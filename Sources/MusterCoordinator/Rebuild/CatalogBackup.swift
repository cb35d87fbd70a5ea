import Foundation
import Logging
import MusterCatalog
import MusterEngine
import MusterFormat
import MusterModel
import MusterStore
import ServiceLifecycle
import Synchronization

/// What the catalog's backups are sealed with. It is kept in the catalog, and in the fleet's state for a rebuild.
struct CatalogScope: Sendable {
    private static let setting = "catalog-scope"
    static let keyEpoch: UInt32 = 1

    let scope: ScopeID
    let secret: ScopeSecret

    var bytes: [UInt8] { scope.bytes + secret.bytes }
    var keys: ScopeKeys { ScopeKeys(secret: secret, scope: scope, epoch: Self.keyEpoch) }

    init?(bytes: [UInt8]) {
        guard let scope = ScopeID(bytes: bytes.prefix(ScopeID.byteCount)),
            let secret = ScopeSecret(bytes: bytes.dropFirst(ScopeID.byteCount))
        else { return nil }
        (self.scope, self.secret) = (scope, secret)
    }

    /// Reads it, or draws it the first time.
    static func current(in catalog: Catalog, random: RandomSource) async throws -> CatalogScope {
        if let bytes = try await catalog.setting(setting) {
            guard let scope = CatalogScope(bytes: bytes) else {
                throw CatalogError.damaged(column: "setting.\(setting)")
            }
            return scope
        }
        let drawn = ScopeID(from: random).bytes + ScopeSecret(from: random).bytes
        try await catalog.set(setting, to: drawn)
        guard let scope = CatalogScope(bytes: drawn) else { throw CatalogError.damaged(column: "setting.\(setting)") }
        return scope
    }

    func keep(in catalog: Catalog) async throws { try await catalog.set(Self.setting, to: bytes) }
}

/// Backs up the catalog into its own stores, with the engine that backs up everything else.
///
/// The engine reads a copy: two openings of one file in one process take each other's locks away when one is closed
/// (sqlite.org/howtocorrupt.html, 2.2.1). Each backup is a full manifest whose pack list says all, signed with the
/// receipt key, under `catalog/`; what the backups before have is not stored again. It has no receipt: for a rebuild
/// it is a help, and the stores' receipts are the truth.
extension Coordinator {
    /// The catalog's place among nodes and databases.
    static let catalogNode = NodeID(bytes: [UInt8](repeating: 0, count: 16))
    private static let catalogDatabase = DatabaseID(bytes: [UInt8](repeating: 0, count: 16))
    private static let numberSetting = "catalog-backup"
    private static let takenSetting = "catalog-backup-at"
    private static func takenSetting(of store: OpenStore) -> String { "catalog-backup-at-\(store.number)" }
    private static let keptBackups = 2
    /// How often the notes of what the stores hold are compared with what they list.
    private static let listingEvery = Duration.seconds(86_400)
    /// A rebuild may be reading what has just been replaced.
    private static let discardDelay = Duration.seconds(86_400)

    /// - Returns: false where it is not due.
    @discardableResult
    func backUpCatalogIfDue(
        every period: Duration, onCopy: @escaping @Sendable () -> Void = {}
    ) async throws -> Bool {
        let now = clock.now()
        let text = try await catalog.setting(Self.takenSetting).map { String(decoding: $0, as: UTF8.self) }
        guard let last = text.flatMap({ Timestamp($0) }) else {
            // There is nothing in a new catalog that its stores do not say.
            try await catalog.set(Self.takenSetting, to: Array(now.description.utf8))
            return false
        }
        // A clock that was set back must not put it off.
        guard last > now || now - last >= period, try await mayWrite() else { return false }
        try await backUpCatalog(onCopy: onCopy)
        return true
    }

    /// When the newest backup came into a store.
    func lastCatalogBackup(in store: OpenStore) async throws -> Timestamp? {
        try await catalog.setting(Self.takenSetting(of: store)).flatMap {
            Timestamp(String(decoding: $0, as: UTF8.self))
        }
    }

    /// Takes a backup into every store that is in use and answers; one that fails meanwhile keeps the others from
    /// nothing.
    ///
    /// - Parameter onCopy: called where the catalog is about to be copied.
    func backUpCatalog(onCopy: @escaping @Sendable () -> Void = {}) async throws {
        try await stateLanes.pass(false) {
            let targets = BackupTargets(
                stores.all.filter { $0.takesObjects && $0.entry.state == .active }, logger: logger)
            guard let node = Self.catalogNode, let database = Self.catalogDatabase, !targets.left.isEmpty else {
                throw Refusal.noStore
            }
            let scope = try await CatalogScope.current(in: catalog, random: random)
            // Before the copy, which may be large: where no store answers it is for nothing.
            try await targets.each { target in
                _ = try await target.store.freeBytes()
                try await compareNotes(with: target)
            }
            let sink = try await CatalogSink(
                targets: targets, earlier: Self.keptBackups, catalog: catalog, random: random)
            let now = clock.now()
            let copy = catalogCopy
            defer { Self.remove(copy) }
            Self.remove(copy)
            onCopy()
            try await catalog.copy(to: copy)
            let number = try await nextBackupNumber()
            let request = SnapshotRequest(
                snapshot: SnapshotID(from: random), node: node, database: database, databaseName: "catalog",
                path: copy, lineage: LineageID(from: random), sequence: 0, parent: nil, parentPacks: [],
                forkedFrom: nil, labels: [CatalogShelf.label: CatalogShelf.mark(epoch, number)])
            let ticks = ContinuousClock()
            let start = ticks.now
            var sealing = SealingSettings(keys: scope.keys, signingKey: receiptKey, lanes: 1)
            sealing.inlinePackBytes = 0
            let outcome = try await SnapshotPipeline(
                settings: sealing, clock: clock, monotonic: { start.duration(to: ticks.now) }
            ).run(request, .pinned, SnapshotPipeline.Known(ledger: MemoryLedger(), state: nil), sink: sink)
            guard case .prepared(let prepared) = outcome else { return }
            for pack in prepared.inlinePacks {
                try await sink.put(SHA256Hasher.hash(pack), bytes: pack) { _ in }
            }
            try await targets.each { target in try await keep(prepared.manifest, number, in: target) }
            try await catalog.set(Self.takenSetting, to: Array(now.description.utf8))
            logger.info("catalog backed up", metadata: ["bytes": "\(prepared.figures.addedBytes)"])
        }
    }

    /// Puts the manifest there, and gives up what the newest backups in that store do not need.
    private func keep(_ manifest: [UInt8], _ number: UInt64, in target: OpenStore) async throws {
        let name = ObjectName.catalogBackup(epoch: epoch, number: number)
        let own = Catalog.OwnObject(
            store: target.number, object: name.description, kind: .backup, byteCount: manifest.count)
        let packs = try Manifest.parse(manifest).claimed.publicPart.packs.added
        try await catalog.begin(own)
        try await target.store.put(name, manifest)
        try await catalog.complete(own, needing: packs.sorted())
        try await catalog.set(Self.takenSetting(of: target), to: Array(clock.now().description.utf8))
        try await catalog.discardBackups(
            keeping: Self.keptBackups, in: target.number, notBefore: clock.now() + Self.discardDelay)
    }

    /// Noted before it is used, so that a crash leaves no name that is taken twice.
    private func nextBackupNumber() async throws -> UInt64 {
        let noted = try await catalog.setting(Self.numberSetting).flatMap {
            UInt64(String(decoding: $0, as: UTF8.self))
        }
        let number = (noted ?? 0) + 1
        try await catalog.set(Self.numberSetting, to: Array("\(number)".utf8))
        return number
    }

    /// Once a day: a pack that somebody took away is put again, and what a catalog before this one kept is taken up.
    private func compareNotes(with target: OpenStore) async throws {
        let setting = "own-objects-listed-\(target.number)"
        let now = clock.now()
        let last = try await catalog.setting(setting).flatMap { Timestamp(String(decoding: $0, as: UTF8.self)) }
        if let last, last <= now, now - last < Self.listingEvery { return }
        var listed: [Catalog.OwnObject] = []
        for prefix in [ObjectPrefix.states, .catalogBackups, .catalogPacks] {
            try await target.store.eachPage(prefix) { page in
                listed += page.compactMap { Catalog.OwnObject($0, $1, in: target.number) }
            }
        }
        try await catalog.adopt(listed, in: target.number)
        if let number = kept[target.number] {
            let name = ObjectName.coordinatorState(epoch: epoch, number: number).description
            // It is put once more.
            if !listed.contains(where: { $0.object == name }) { kept[target.number] = nil }
        }
        try await catalog.set(setting, to: Array(now.description.utf8))
    }

    private static func remove(_ path: String) {
        // Left by a crash, or not there at all.
        for suffix in ["", "-wal", "-shm", "-journal"] { unlink(path + suffix) }
    }
}

extension Catalog.OwnObject {
    /// - Returns: nil for what is nothing of the coordinator's own.
    init?(_ item: StoredItem, _ object: StoredObject, in store: Int64) {
        let kind: Catalog.OwnKind
        var pack: PackID?
        switch item {
        case .coordinatorState: kind = .state
        case .catalogBackup: kind = .backup
        case .catalogPack(let id, _):
            kind = .pack
            pack = id
        default: return nil
        }
        self.init(
            store: store, object: object.name.description, kind: kind, pack: pack,
            byteCount: Int(clamping: object.byteCount))
    }
}

/// Takes the catalog's backups, from time to time and once more at the end.
struct CatalogBackupService: Service {
    private static let patience = Duration.seconds(30)
    /// At shutdown a backup that is younger will do.
    private static let youth = Duration.seconds(300)

    enum Outcome: Sendable {
        /// Taken, or not due.
        case well
        /// The catalog was not copied: there was no store, or none that answered.
        case notCopied
        case copiedInVain
    }

    /// How long until the next try: where the catalog, which may be large, was copied in vain, twice as long each time.
    struct Pauses: Sendable {
        private static let longest = Duration.seconds(3600)

        private let longest: Duration
        private var afterCopy = patience

        init(period: Duration) { longest = min(period, Self.longest) }

        mutating func next(after outcome: Outcome) -> Duration {
            switch outcome {
            case .well: afterCopy = patience
            case .notCopied: break
            case .copiedInVain:
                afterCopy = min(afterCopy * 2, longest)
                return afterCopy
            }
            return patience
        }
    }

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        guard let period = coordinator.settings.catalogBackupEvery else { return try await gracefulShutdown() }
        var pauses = Pauses(period: period)
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let pause = pauses.next(after: await attempt(period))
            await rounds.wait(true, after: 0, atMost: pause)
        }
        _ = await attempt(min(period, Self.youth))
    }

    private func attempt(_ period: Duration) async -> Outcome {
        let isCopied = Mutex(false)
        do {
            try await coordinator.backUpCatalogIfDue(every: period) { isCopied.withLock { $0 = true } }
            return .well
        } catch {
            coordinator.logger.warning("catalog not backed up", metadata: ["reason": "\(reasonText(error))"])
            return isCopied.withLock { $0 } ? .copiedInVain : .notCopied
        }
    }
}
