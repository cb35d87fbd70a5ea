package import MusterModel
import Synchronization

/// Measures what a store really promises, whatever its maker says.
///
/// It uses names of its own under `probe/` alone and removes them. What a store does wrong is a finding; a store
/// that is away or full cannot be probed, and that is an error.
package struct StoreProbe: Sendable {
    typealias Finding = StoreCapabilities.Finding

    /// No probe uses more names.
    fileprivate static let maximumNames: UInt64 = 64

    let store: any Store
    let run: ProbeRun
    private let clock: any WallClock
    private let monotonic: @Sendable () -> Duration

    /// - Parameter monotonic: time since some fixed moment, never set back.
    package init(
        _ store: any Store, random: RandomSource, clock: any WallClock, monotonic: @escaping @Sendable () -> Duration
    ) {
        (self.store, self.clock, self.monotonic) = (store, clock, monotonic)
        run = ProbeRun(random: random)
    }

    /// What `remove` needs, should this probe be cut off.
    package var id: ProbeID { run.id }

    /// Deletes by their exact names what a probe may have left that was cut off.
    package static func remove(_ id: ProbeID, from store: any Store) async throws(StoreError) {
        for number in 0..<maximumNames {
            do throws(StoreError) {
                try await store.delete(.probe(id, number))
            } catch .notFound {
                continue
            } catch {
                throw error
            }
        }
    }

    package func measure() async throws(StoreError) -> StoreCapabilities {
        do {
            var findings: [Finding] = []
            for (capability, trial) in trials { findings.append(try await outcome(of: capability, trial)) }
            findings.append(try await clockFinding())
            findings.append(try await lockFinding())
            let pace = try await pace()
            // Last: it also shows that what was deleted above stays away.
            let deletion = try await outcome(of: .deletion, tryDeletion)
            findings.append(deletion)
            if deletion.outcome == .broken { await removeWhatIsLeft() }
            return StoreCapabilities(findings: findings.sorted(), pace: pace)
        } catch {
            await removeWhatIsLeft()
            throw error
        }
    }

    private typealias Trial = () async throws(ProbeFailure) -> String

    private var trials: [(StoreCapabilities.Capability, Trial)] {
        [
            (.readAfterWrite, tryReadAfterWrite), (.createOnly, tryCreateOnly), (.rangeReads, tryRanges),
            (.checksumRefusal, tryChecksum), (.signedURLs, trySignedURL), (.listing, tryListing),
        ]
    }

    private func outcome(of capability: StoreCapabilities.Capability, _ trial: Trial) async throws(StoreError)
        -> Finding
    {
        do {
            return Finding(capability, .held, try await trial())
        } catch {
            switch error {
            case .broken(let detail): return Finding(capability, .broken, detail)
            case .absent(let detail): return Finding(capability, .absent, detail)
            case .store(let error) where error.endsProbe: throw error
            case .store(let error): return Finding(capability, .broken, error.summary)
            }
        }
    }

    private func clockFinding() async throws(StoreError) -> Finding {
        let before = clock.now()
        guard let asked = store as? any ProbedStore, let theirs = try await asked.time() else {
            return Finding(.clock, .absent, "the store tells no time")
        }
        let after = clock.now()
        // It tells whole seconds, of a moment between the two.
        let lag = max(.zero, before - theirs - .seconds(1))
        let lead = max(.zero, theirs - after)
        let difference = max(lag, lead)
        let detail = difference == .zero ? "the clocks agree" : "the clocks differ by \(difference / .seconds(1)) s"
        return Finding(.clock, difference <= Self.clockTolerance ? .held : .broken, detail)
    }

    private func lockFinding() async throws(StoreError) -> Finding {
        guard let asked = store as? any ProbedStore, let locks = try await asked.locksObjects() else {
            return Finding(.objectLock, .absent, "stores of this kind have none")
        }
        guard locks else { return Finding(.objectLock, .absent, "it is not switched on") }
        switch try await asked.tryLock(run.newName(), run.random.bytes(100)) {
        case .kept(let span):
            return Finding(
                .objectLock, .held,
                "an object that was locked for \(span.components.seconds) s was neither deleted nor replaced")
        case .lost(let deed): return Finding(.objectLock, .broken, "an object that was locked was \(deed)")
        case .untried(let reason):
            return Finding(.objectLock, .absent, "the store says that it is on; that was not proven, as \(reason)")
        }
    }

    /// As S3 and signed URLs take it: a request that is a quarter of an hour off is refused.
    private static let clockTolerance = Duration.seconds(300)
    private static let largeBytes = 4 << 20
    /// Random, and as long as what compressing file systems look at.
    private static let blockBytes = 128 << 10
    private static let rounds = 7

    private func pace() async throws(StoreError) -> StoreCapabilities.Pace {
        var puts: [Duration] = []
        var reads: [Duration] = []
        for _ in 0..<Self.rounds {
            let (put, read) = try await timed(run.random.bytes(1024))
            puts.append(put)
            reads.append(read)
        }
        let block = run.random.bytes(Self.blockBytes)
        let (put, read) = try await timed(
            Array(repeating: block, count: Self.largeBytes / Self.blockBytes).flatMap { $0 })
        func rate(_ time: Duration) -> UInt64 { UInt64(Double(Self.largeBytes) / max(time / .seconds(1), 1e-6)) }
        return StoreCapabilities.Pace(
            putBytesPerSecond: rate(put), readBytesPerSecond: rate(read),
            putMicroseconds: UInt64(puts.sorted()[Self.rounds / 2] / .microseconds(1)),
            readMicroseconds: UInt64(reads.sorted()[Self.rounds / 2] / .microseconds(1)))
    }

    private func timed(_ bytes: [UInt8]) async throws(StoreError) -> (put: Duration, read: Duration) {
        let name = run.newName()
        let start = monotonic()
        try await store.put(name, bytes)
        let middle = monotonic()
        _ = try await store.read(name, maximumBytes: bytes.count, fresh: true)
        return (middle - start, monotonic() - middle)
    }

    /// As far as the store lets us: it may be the very reason why the probe ended.
    private func removeWhatIsLeft() async {
        for name in run.names { try? await store.delete(name) }
    }
}

/// The names that one probe uses, all of which it removes.
final class ProbeRun: Sendable {
    let id: ProbeID
    let random: RandomSource
    private let count = Mutex<UInt64>(0)

    init(random: RandomSource) { (self.random, id) = (random, ProbeID(from: random)) }

    var prefix: ObjectPrefix { .probe(id) }
    var names: [ObjectName] { (0..<count.withLock { $0 }).map { .probe(id, $0) } }

    func newName() -> ObjectName {
        count.withLock { count in
            precondition(count < StoreProbe.maximumNames, "a probe uses more names than are removed after it")
            defer { count += 1 }
            return .probe(id, count)
        }
    }
}

/// Why a trial did not succeed.
enum ProbeFailure: Error {
    case broken(String)
    case absent(String)
    case store(StoreError)
}

extension StoreError {
    /// It says nothing of what the store promises.
    fileprivate var endsProbe: Bool {
        switch self {
        case .full, .readOnly: true
        default: meansAbsence || isTransient
        }
    }
}

extension [StoreCapabilities.Finding] {
    /// In the order in which the capabilities are written down.
    fileprivate func sorted() -> Self {
        StoreCapabilities.Capability.allCases.compactMap { capability in first { $0.capability == capability } }
    }
}
