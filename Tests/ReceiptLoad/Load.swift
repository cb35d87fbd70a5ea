import Foundation
import MusterAPI
import MusterAgent
import MusterFormat
import MusterModel
import MusterTransfer

/// Nodes that commit beside each other, each one snapshot after the other over one connection.
struct Load {
    let directories: [AgentDirectory]
    let count: Int

    func run() async throws {
        var lanes: [Lane] = []
        for directory in directories { lanes.append(try Lane(directory, count: count)) }
        let began = ContinuousClock.now
        let latencies = try await withThrowingTaskGroup(of: Latencies.self) { group in
            for lane in lanes { group.addTask { try await lane.run() } }
            return try await group.reduce(into: Latencies()) { $0.add($1) }
        }
        let elapsed = Double((ContinuousClock.now - began) / .milliseconds(1)) / 1e3
        let rate = Int(Double(lanes.count * count) / elapsed)
        print("\(lanes.count) nodes, \(count) commits each: \(rate) receipts/s, \(latencies)")
    }
}

/// One node with everything that it is going to send.
struct Lane {
    private let client: CoordinatorClient
    private let receiptKey: VerifyingKey
    private let requests: [Muster_V1_CommitRequest]
    private let manifests: [ManifestHash]

    init(_ directory: AgentDirectory, count: Int) throws {
        let configuration = try directory.configuration()
        let identity = try NodeIdentity(directory: directory, node: configuration.nodeID)
        receiptKey = try Self.receiptKey(directory)
        var settings = HTTPClient.Settings()
        settings.maximumConnections = 1
        let tls = TLSFiles(
            authority: directory.authorityFile,
            identity: .init(certificate: directory.certificateFile, key: directory.certificateKeyFile))
        client = CoordinatorClient(
            http: try HTTPClient(tls: tls, settings: settings), url: configuration.coordinatorURL,
            retry: .init(policy: RetryPolicy(maximumAttempts: 1), random: .system, clock: ContinuousClock()))
        var history = SnapshotHistory(identity: identity)
        var requests: [Muster_V1_CommitRequest] = []
        var manifests: [ManifestHash] = []
        // One more than is measured: the first is full, and opens the connection.
        for _ in 0...count {
            let (manifest, pack) = try history.next()
            var request = Muster_V1_CommitRequest()
            request.manifest = .init(manifest.bytes)
            request.packs = [.init(pack.bytes)]
            requests.append(request)
            manifests.append(manifest.hash)
        }
        (self.requests, self.manifests) = (requests, manifests)
    }

    func run() async throws -> Latencies {
        var latencies = Latencies()
        var receipts: [[UInt8]] = []
        for (index, request) in requests.enumerated() {
            let began = ContinuousClock.now
            let answer = try await client.commit(request)
            if index > 0 { latencies.add(ContinuousClock.now - began) }
            receipts.append(Array(answer.receipt))
        }
        for (manifest, bytes) in zip(manifests, receipts) {
            guard try Receipt.parse(bytes).verified(by: receiptKey).manifest == manifest else {
                throw WrongReceipt()
            }
        }
        client.shutdown()
        return latencies
    }

    static func receiptKey(_ directory: AgentDirectory) throws -> VerifyingKey {
        let text = try String(contentsOfFile: directory.path + "/receipt.pub", encoding: .utf8)
        guard let key = Hex.decode(text.prefix { $0 != "\n" }).flatMap({ VerifyingKey(bytes: $0) }) else {
            throw WrongReceipt()
        }
        return key
    }
}

private struct WrongReceipt: Error {}
