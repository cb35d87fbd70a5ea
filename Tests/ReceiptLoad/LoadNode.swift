import Foundation
import MusterAPI
import MusterAgent
import MusterFormat
import MusterModel
import MusterTransfer

/// One simulated node: what it asks for, what it says, what it commits. Its databases exist in name only.
struct LoadNode: Sendable {
    private static let version = "0.1.0"

    let client: CoordinatorClient
    private let identity: NodeIdentity
    private let shape: FleetLoad.Shape
    private let seed: UInt64
    private let databases: [DatabaseID]
    private let receiptKey: VerifyingKey

    init(_ directory: AgentDirectory, shape: FleetLoad.Shape, seed: UInt64) throws {
        let configuration = try directory.configuration()
        identity = try NodeIdentity(directory: directory, node: configuration.nodeID)
        receiptKey = try Lane.receiptKey(directory)
        (self.shape, self.seed) = (shape, seed)
        databases = (0..<shape.databases).map { _ in DatabaseID(from: .system) }
        var settings = HTTPClient.Settings()
        // As many as an agent that is not pushing has: one waits for work.
        settings.maximumConnections = 2
        let tls = TLSFiles(
            authority: directory.authorityFile,
            identity: .init(certificate: directory.certificateFile, key: directory.certificateKeyFile))
        client = CoordinatorClient(
            http: try HTTPClient(tls: tls, settings: settings), url: configuration.coordinatorURL,
            retry: .init(policy: RetryPolicy(maximumAttempts: 1), random: .system, clock: ContinuousClock()))
    }

    /// Waits for work all the time. What it is asked to do it cannot.
    func poll(_ waitSeconds: UInt32, until end: ContinuousClock.Instant) async throws -> LoadOutcome {
        var outcome = LoadOutcome()
        var request = Muster_V1_WorkRequest()
        request.bootID = Hex.encode(RandomSource.system.bytes(16))
        try await pause(until: ContinuousClock.now + .seconds(Double(waitSeconds) * chance(0)), end)
        while ContinuousClock.now < end {
            let left = (end - ContinuousClock.now) / .seconds(1)
            request.waitSeconds = min(waitSeconds, UInt32(max(1, left)))
            do {
                let answer = try await client.work(request)
                outcome.polls += 1
                for job in answer.jobs {
                    outcome.jobs += 1
                    guard let id = JobID(job.id) else { throw WrongAnswer(what: "job") }
                    var refusal = Muster_V1_JobOutcome()
                    (refusal.state, refusal.errorSummary) = ("failed", "this node is simulated")
                    _ = try await client.finish(id, refusal)
                }
            } catch let error as CoordinatorError {
                outcome.failures += 1
                try await pause(until: ContinuousClock.now + .seconds(1), end)
                if outcome.failures == 1 { print("poll: \(error.summary)") }
            }
        }
        return outcome
    }

    /// The first report is whole; of those that follow each says that nothing is new.
    func report(every period: Duration, until end: ContinuousClock.Instant) async throws -> LoadOutcome {
        var outcome = LoadOutcome()
        let life = Hex.encode(RandomSource.system.bytes(16))
        var number: UInt64 = 1
        var isWhole = true
        var due = ContinuousClock.now + period * chance(1)
        while due < end {
            try await pause(until: due, end)
            due += period
            var request = Muster_V1_ReportRequest()
            (request.life, request.reportNumber, request.isDelta) = (life, number, !isWhole)
            request.periodMilliseconds = UInt64(period / .milliseconds(1))
            request.agentVersion = Self.version
            request.clock = Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1e6)).description
            if isWhole { request.databases = databases.enumerated().map { row($0.element, number: $0.offset) } }
            let began = ContinuousClock.now
            do {
                isWhole = try await client.report(request).wantsFull
                outcome.reports.add(ContinuousClock.now - began)
                number += 1
            } catch {
                outcome.failures += 1
                if outcome.failures == 1 { print("report: \(error.summary)") }
            }
        }
        return outcome
    }

    /// Each database's first snapshot is full, the next ones change four pages.
    func commit(until end: ContinuousClock.Instant) async throws -> LoadOutcome {
        var outcome = LoadOutcome()
        guard shape.interval > 0 else { return outcome }
        let sealer = ChunkSealer(keys: identity.keys)
        var histories = databases.enumerated().map {
            SnapshotHistory(identity: identity, sealer: sealer, database: $0.element, name: "load-\($0.offset)")
        }
        let interval = Duration.seconds(shape.interval)
        let began = ContinuousClock.now
        let phases = (0..<histories.count).map { began + interval * chance(2 + UInt64($0)) }
        for round in 0... {
            for index in phases.indices.sorted(by: { phases[$0] < phases[$1] }) {
                let due = phases[index] + interval * round
                guard due < end else { return outcome }
                try await pause(until: due, end)
                try await commit(&histories[index], &outcome)
            }
        }
        return outcome
    }

    private func commit(_ history: inout SnapshotHistory, _ outcome: inout LoadOutcome) async throws {
        let before = history
        let (manifest, pack) = try history.next()
        var request = Muster_V1_CommitRequest()
        (request.manifest, request.packs) = (.init(manifest.bytes), [.init(pack.bytes)])
        let began = ContinuousClock.now
        do {
            let answer = try await client.commit(request)
            outcome.commits.add(ContinuousClock.now - began)
            guard try Receipt.parse(Array(answer.receipt)).verified(by: receiptKey).manifest == manifest.hash else {
                throw WrongAnswer(what: "receipt")
            }
        } catch let error as CoordinatorError {
            // The next round makes the same sequence anew.
            history = before
            outcome.failures += 1
            if outcome.failures == 1 { print("commit: \(error.summary)") }
        }
    }

    private func row(_ database: DatabaseID, number: Int) -> Muster_V1_DatabaseReport {
        var row = Muster_V1_DatabaseReport()
        (row.databaseID, row.name, row.path) = (database.description, "load-\(number)", "/srv/load-\(number).db")
        (row.schedule, row.state, row.capture) = ("every \(max(1, shape.interval))s", "ok", "parked")
        (row.changeCounter, row.receiptChangeCounter) = (1, 1)
        row.intervalMilliseconds = UInt64(max(1, shape.interval)) * 1000
        return row
    }

    /// From 0 to 1, by the seed.
    private func chance(_ purpose: UInt64) -> Double {
        var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ purpose &* 0xbf58_476d_1ce4_e5b9
        state = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
        state = (state ^ (state >> 27)) &* 0x94d0_49bb_1331_11eb
        return Double((state ^ (state >> 31)) >> 11) / Double(1 << 53)
    }

    private func pause(until moment: ContinuousClock.Instant, _ end: ContinuousClock.Instant) async throws {
        try await Task.sleep(until: min(moment, end), clock: .continuous)
    }
}
