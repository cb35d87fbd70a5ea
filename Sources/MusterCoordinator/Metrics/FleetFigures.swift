import Foundation
import MusterAPI
import MusterCatalog
import MusterModel
import MusterServing

extension ProvenState: MetricLabel {}

enum NodeCondition: String, MetricLabel { case active, silent, retired, revoked }

extension VerificationLevel: MetricLabel {}

/// What became of a snapshot in a verification run.
enum InspectionState: String, MetricLabel { case waiting, passed, failed, unfinished }

enum OwnCertificate: String, MetricLabel { case server, authority }

/// The fleet as numbers, as it was a moment ago.
struct FleetFigures: Sendable {
    static let nodes = MetricName("muster_node_count", .gauge, "Nodes by state.")
    static let databases = MetricName("muster_database_count", .gauge, "Databases by how far they are proven.")
    static let snapshots = MetricName("muster_snapshot_count", .gauge, "Snapshots that are not given up.")
    static let stored = MetricName("muster_stored_bytes", .gauge, "Sealed bytes that snapshots need, each once.")
    static let alarms = MetricName("muster_alarm_count", .gauge, "Alarms that stand, by kind.")
    static let severities = MetricName("muster_alarm_severity_count", .gauge, "Alarms that stand, by severity.")
    static let recoveryPoint = MetricName(
        "muster_rpo_oldest_seconds", .gauge,
        "What would be lost at most, of any database, if its node were lost now; absent without a snapshot.")
    static let runs = MetricName("muster_verification_open_count", .gauge, "Verification runs that go on.")
    static let inspections = MetricName(
        "muster_verification_snapshot_count", .gauge,
        "Snapshots in verification runs that began within a week, by what became of them.")
    static let recoveryTime = MetricName(
        "muster_rto_longest_seconds", .gauge, "The longest restore of any database in its newest drill.")
    static let coverage = MetricName(
        "muster_coverage_ratio", .gauge,
        "Part of the databases that passed an inspection of that level within its policy, or ever where there is none.")
    static let storeFree = MetricName("muster_store_free_bytes", .gauge, "Room in a store; absent where it has no end.")
    static let storeUp = MetricName("muster_store_up_bool", .gauge, "1 where the store is well.")
    static let storeWanted = MetricName(
        "muster_store_wanted_count", .gauge, "Copies that are wanted in a store and not there yet.")
    static let storeBad = MetricName(
        "muster_store_bad_count", .gauge, "Replicas in a store that are damaged or missing.")
    static let certificate = MetricName(
        "muster_certificate_left_seconds", .gauge, "Until the coordinator's own certificates run out.")
    static let nodeCertificate = MetricName(
        "muster_node_certificate_left_seconds", .gauge, "Until the first certificate of an active node runs out.")
    static let personCertificate = MetricName(
        "muster_person_certificate_left_seconds", .gauge, "Until the first certificate of a person or program runs out."
    )
    static let disk = MetricName("muster_disk_free_bytes", .gauge, "Room beside the catalog.")
    static let catalog = MetricName("muster_catalog_bytes", .gauge, "The catalog with its WAL.")
    static let collected = MetricName("muster_gc_finished_seconds", .gauge, "When gc last ended, since 1970.")
    static let started = MetricName("muster_start_seconds", .gauge, "When the coordinator was started, since 1970.")
    static let computed = MetricName("muster_figures_seconds", .gauge, "When these figures were computed, since 1970.")

    let at: Timestamp
    let families: [MetricFamily]
}

extension Coordinator {
    /// Figures older than this are computed anew.
    private static let figuresLast = Duration.seconds(15)
    private static let runsLast = Duration.seconds(7 * 86_400)

    /// Everything that `/metrics` tells.
    func metricFamilies() async throws -> [MetricFamily] {
        let now = clock.now()
        let known = watch.figures
        let figures: FleetFigures
        if let known, known.at <= now, now - known.at < Self.figuresLast {
            figures = known
        } else {
            figures = try await lookAtFleet().figures
        }
        return figures.families + metrics.registry.families + ProcessFigures.families
    }

    /// What one look at the fleet found.
    struct FleetLook: Sendable {
        let board: AlarmBoard
        let figures: FleetFigures
    }

    /// Computes alarms and figures, and keeps them for whoever asks next.
    func lookAtFleet() async throws -> FleetLook {
        try await watch.lane.pass(true) {
            let scene = try await fleetScene()
            let board = try await alarms(in: scene).adding(untold: try await standingKeys(in: scene))
            let figures = try await figures(of: scene, board)
            watch.keep(figures)
            return FleetLook(board: board, figures: figures)
        }
    }

    private func figures(of scene: FleetScene, _ board: AlarmBoard) async throws -> FleetFigures {
        async let oldestRisk = oldestRisk(in: scene)
        let totals = try await catalog.totals()
        let severities = Dictionary(board.told.map { ($0.severity, Double(max(1, $0.more))) }, uniquingKeysWith: +)
        var families = [
            MetricFamily(FleetFigures.nodes, by: "state", Self.conditions(in: scene)),
            MetricFamily(FleetFigures.databases, by: "state", Self.proofs(in: scene)),
            MetricFamily(FleetFigures.snapshots, Double(totals.snapshots)),
            MetricFamily(FleetFigures.stored, Double(totals.storedBytes)),
            MetricFamily(FleetFigures.alarms, by: "kind", board.counts.mapValues(Double.init)),
            MetricFamily(FleetFigures.severities, by: "severity", severities),
        ]
        if let risk = try await oldestRisk { families.append(MetricFamily(FleetFigures.recoveryPoint, risk.inSeconds)) }
        families += try await verificationFigures(in: scene)
        families += storeFigures(scene.stores) + certificateFigures(in: scene)
        families += try await personFigures(now: scene.now)
        if let free = await ownFreeBytes() { families.append(MetricFamily(FleetFigures.disk, Double(free))) }
        families.append(MetricFamily(FleetFigures.catalog, Double(await catalogBytes())))
        if let end = try await lastCollectionRun().flatMap({ Timestamp($0.finishedAt) }) {
            families.append(MetricFamily(FleetFigures.collected, end.inSeconds))
        }
        families.append(MetricFamily(FleetFigures.started, startedAt.inSeconds))
        families.append(MetricFamily(FleetFigures.computed, scene.now.inSeconds))
        return FleetFigures(at: scene.now, families: families)
    }

    private static func conditions(in scene: FleetScene) -> [NodeCondition: Double] {
        scene.nodes.reduce(into: [:]) { counts, node in
            let condition: NodeCondition =
                switch node.state {
                case .active: scene.silences[node.id]?.since == nil ? .active : .silent
                case .retired: .retired
                case .revoked: .revoked
                }
            counts[condition, default: 0] += 1
        }
    }

    private static func proofs(in scene: FleetScene) -> [ProvenState: Double] {
        var sum = StateCounts()
        for counts in scene.counts(of: scene.groups).values { sum.add(counts) }
        return Dictionary(
            ProvenState.allCases.filter { sum[$0] > 0 }.map { ($0, Double(sum[$0])) },
            uniquingKeysWith: { first, _ in first })
    }

    private func verificationFigures(in scene: FleetScene) async throws -> [MetricFamily] {
        let counts = try await catalog.verificationCounts(since: scene.now - Self.runsLast)
        let states: [InspectionState: Double] = [
            .waiting: Double(counts.waiting), .passed: Double(counts.passed), .failed: Double(counts.failed),
            .unfinished: Double(counts.unfinished),
        ]
        let coverage = try await coverage()
        let parts = coverage.levels.compactMap { level in
            VerificationLevel(rawValue: level.level).map { ($0, Double(level.within)) }
        }
        let total = Double(max(1, coverage.databases))
        let longest = try await catalog.longestRestoreSeconds()
        return [
            MetricFamily(FleetFigures.runs, Double(counts.open)),
            MetricFamily(FleetFigures.inspections, by: "state", states),
            MetricFamily(
                FleetFigures.coverage, by: "level",
                Dictionary(parts, uniquingKeysWith: { first, _ in first }).mapValues { $0 / total }),
        ] + (longest.map { [MetricFamily(FleetFigures.recoveryTime, $0)] } ?? [])
    }

    private func storeFigures(_ stores: [Muster_V1_StoreStatus]) -> [MetricFamily] {
        func family(
            _ name: MetricName, _ value: (Muster_V1_StoreStatus) -> Double?
        ) -> MetricFamily {
            MetricFamily(name, by: "store", named: stores.compactMap { store in value(store).map { (store.name, $0) } })
        }
        return [
            family(FleetFigures.storeUp) { $0.state == "ok" ? 1 : 0 },
            family(FleetFigures.storeFree) { $0.state == "ok" && $0.freeBytes != .max ? Double($0.freeBytes) : nil },
            family(FleetFigures.storeWanted) { Double($0.wantedCopies) },
            family(FleetFigures.storeBad) { Double($0.badReplicas) },
        ]
    }

    private func certificateFigures(in scene: FleetScene) -> [MetricFamily] {
        var ends: [OwnCertificate: Double] = [.authority: (authority.notAfter - scene.now).inSeconds]
        ends[.server] = serverCertificateEnd.map { ($0 - scene.now).inSeconds }
        let nodes = scene.nodes.filter { $0.state == .active }.compactMap(\.certificateExpiresAt).min()
        return [MetricFamily(FleetFigures.certificate, by: "certificate", ends)]
            + (nodes.map { [MetricFamily(FleetFigures.nodeCertificate, ($0 - scene.now).inSeconds)] } ?? [])
    }

    private func personFigures(now: Timestamp) async throws -> [MetricFamily] {
        let end = Timestamp(microseconds: .max)
        let first = try await catalog.peopleRunningOut(now: now, by: end, atMost: 1).first
        return first.map { [MetricFamily(FleetFigures.personCertificate, ($0.notAfter - now).inSeconds)] } ?? []
    }

    private func catalogBytes() async -> UInt64 {
        let path = catalogPath
        // Two looks at the disk; one that fails counts nothing.
        let bytes = try? await hashing.run {
            ["", "-wal"].reduce(into: UInt64(0)) { sum, suffix in
                // A WAL that is not there has no bytes.
                let attributes = try? FileManager.default.attributesOfItem(atPath: path + suffix)
                sum += (attributes?[.size] as? NSNumber)?.uint64Value ?? 0
            }
        }
        return bytes ?? UInt64(0)
    }
}

extension Timestamp {
    var inSeconds: Double { Double(microseconds) / 1_000_000 }
}
