import Crypto
import Foundation
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftASN1
import Synchronization
import Testing
import X509

@testable import MusterAgent
@testable import MusterCoordinator
@testable import MusterStore

@Suite("A store on another node", .timeLimit(.minutes(10)))
struct NodeStoreTests {
    @Test("passes the claims of every store", arguments: StoreConformance.claims)
    func conformance(claim: StoreConformance) async throws {
        let rig = try NodeStoreRig()
        try await rig.serve { port in
            try await claim.check(try rig.store(port: port), random: .seeded(1))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: rig.spoolPath).isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: rig.storePath + "/incoming").isEmpty)
    }

    @Test func onlyTheCoordinatorOfTheFleetMayUseIt() async throws {
        let (rig, other) = (try NodeStoreRig(), try NodeStoreRig())
        let admin = P256.Signing.PrivateKey()
        let adminPEM = try rig.authority.issueClient(
            publicKey: Certificate.PublicKey(admin.publicKey), commonName: "coordinator", lifetime: .seconds(60),
            random: .system, now: NodeStoreRig.now
        ).pem
        let strangers: [(String, TLSFiles.Identity?)] = [
            ("no certificate", nil),
            ("a node's", try rig.nodePair(NodeID(from: .system))),
            ("the node's own", try rig.nodePair(rig.node)),
            ("an admin's", .init(certificate: adminPEM, key: admin.pemRepresentation)),
            ("an expired one", try rig.coordinatorPair(lifetime: .seconds(-1))),
            ("another fleet's", try other.coordinatorPair()),
        ]
        try await rig.serve { port in
            for (name, identity) in strangers {
                let store = try rig.store(port: port, tls: try rig.tls(identity))
                let error = await #expect(throws: StoreError.self, "\(name)") {
                    try await store.put(.format, [1])
                }
                #expect(error?.meansAbsence == true, "\(name): \(String(describing: error))")
                await #expect(throws: StoreError.self, "\(name)") { _ = try await store.freeBytes() }
            }
            #expect(try await rig.store(port: port).freeBytes() > 0)
        }
    }

    @Test func aNodeInAnothersPlaceIsRefused() async throws {
        let rig = try NodeStoreRig()
        try await rig.serve { port in
            let store = try rig.store(port: port, node: NodeID(from: .system))
            let error = await #expect(throws: StoreError.self) { _ = try await store.freeBytes() }
            #expect(error?.summary.contains("certificate") == true)
        }
    }

    @Test func aNodesRequestCannotBringTheCoordinatorsMark() throws {
        let rig = try NodeStoreRig()
        let key = P256.Signing.PrivateKey()
        let wanted = SubjectAlternativeNames([
            .uniformResourceIdentifier(NodeStoreWire.coordinatorMark),
            .dnsName(NodeStoreWire.hostName(of: NodeID(from: .system))),
        ])
        let extensions = try Certificate.Extensions { wanted }
        let request = try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName("coordinator") },
            privateKey: Certificate.PrivateKey(key),
            attributes: try CertificateSigningRequest.Attributes([.init(ExtensionRequest(extensions: extensions))]),
            signatureAlgorithm: .ecdsaWithSHA256)
        let issued = try rig.authority.issueNode(
            request: try request.serializeAsPEM().pemString, node: rig.node, random: .system, now: NodeStoreRig.now)
        let certificate = try Certificate(pemEncoded: issued.pem)
        let names = try #require(try certificate.extensions.subjectAlternativeNames)
        #expect(Array(names) == [.dnsName(NodeStoreWire.hostName(of: rig.node))])
        #expect(!NodeStoreResponder.isCoordinator(certificate, at: NodeStoreRig.now))
        let real = try Certificate(pemEncoded: try rig.coordinatorPair().certificate)
        #expect(NodeStoreResponder.isCoordinator(real, at: NodeStoreRig.now))
        #expect(!NodeStoreResponder.isCoordinator(real, at: NodeStoreRig.now + .seconds(3601)))
    }

    @Test func aBodyWithAnotherHashGetsNoName() async throws {
        let rig = try NodeStoreRig()
        try await rig.serve { port in
            let store = try rig.store(port: port)
            let name = try ObjectName.somePack()
            let bytes = RandomSource.seeded(2).bytes(700_000)
            var request = store.connection.request(.put, name)
            request.headers[NodeStoreWire.hashHeader] = Hex.encode(SHA256.hash(data: bytes.dropLast()))
            request.body = .bytes(bytes)
            #expect(try await store.connection.ask(request).status == 422)
            #expect(try await store.byteCount(of: name) == nil)
            request.headers[NodeStoreWire.hashHeader] = Hex.encode(SHA256.hash(data: bytes))
            #expect(try await store.connection.ask(request).status == 201)
            #expect(try await store.read(name, maximumBytes: bytes.count) == bytes)
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: rig.storePath + "/incoming").isEmpty)
    }

    @Test func theQuotaIsKeptAndOutlivesARestart() async throws {
        let rig = try NodeStoreRig(quotaBytes: 10_000)
        let (first, second) = (try ObjectName.somePack(), try ObjectName.somePack())
        try await rig.serve { port in
            let store = try rig.store(port: port)
            try await store.put(first, [UInt8](repeating: 1, count: 6000))
            await #expect(throws: StoreError.full(store: "elsewhere")) {
                try await store.put(second, [UInt8](repeating: 1, count: 6000))
            }
            // What failed gave its room back.
            await #expect(throws: StoreError.alreadyExists(store: "elsewhere", object: first)) {
                try await store.put(first, [UInt8](repeating: 1, count: 3000))
            }
            #expect(try await (3000..<4000).contains(store.freeBytes()))
        }
        try await rig.serve { port in
            let store = try rig.store(port: port)
            await #expect(throws: StoreError.full(store: "elsewhere")) {
                try await store.put(second, [UInt8](repeating: 1, count: 6000))
            }
            try await store.delete(first)
            try await store.put(second, [UInt8](repeating: 1, count: 6000))
        }
    }

    @Test func whatIsNoRouteOfOursIsRefused() async throws {
        let rig = try NodeStoreRig()
        try await rig.serve { port in
            let connection = try rig.store(port: port).connection
            let hash = Hex.encode(SHA256.hash(data: []))
            let wanted: [(HTTPRequest.Method, String, [String: String], Int)] = [
                (.get, "/", [:], 404), (.post, "/v1/room", [:], 404), (.delete, "/v1/room", [:], 404),
                (.delete, "/v1/objects/", [:], 400), (.get, "/v1/objects/../store", [:], 400),
                (.get, "/v1/objects/packs/%2e%2e/x", [:], 400), (.get, "/v1/objects/incoming/x", [:], 400),
                (.put, "/v1/objects/a", [:], 400), (.put, "/v1/objects/a/../b", [NodeStoreWire.hashHeader: hash], 400),
                (.get, "/v1/objects/a", ["range": "bytes=5-"], 400),
                (.get, "/v1/objects/a", ["range": "bytes=5-4"], 400),
                (.get, "/v1/listings/00/0?prefix=", [:], 400),
                (.get, "/v1/listings/000102030405060708090a0b0c0d0e0f/0?prefix=../", [:], 400),
                (.get, "/v1/listings/000102030405060708090a0b0c0d0e0f/1?prefix=packs/", [:], 410),
            ]
            for (method, path, headers, status) in wanted {
                var request = connection.request(method, path: path)
                request.headers = headers
                #expect(try await connection.ask(request).status == status, "\(method) \(path)")
            }
            var request = connection.request(.put, path: "/v1/objects/a")
            request.headers[NodeStoreWire.hashHeader] = hash
            request.body = .source(
                RequestSource(byteCount: NodeStoreWire.maximumObjectBytes + 1) { range in
                    [UInt8](repeating: 0, count: range.count)
                })
            #expect(try await connection.ask(request).status == 413)
        }
    }

    @Test func aProbeFindsAllItsPromisesKept() async throws {
        let rig = try NodeStoreRig()
        try await rig.serve { port in
            let store = try rig.store(port: port)
            let start = ContinuousClock.now
            let capabilities = try await StoreProbe(
                store, random: .system, clock: NodeStoreRig.SystemClock(), monotonic: { ContinuousClock.now - start }
            ).measure()
            let offered = capabilities.findings.filter { ![.objectLock, .signedURLs].contains($0.capability) }
            for finding in offered { #expect(finding.outcome == .held, "\(finding)") }
            #expect(capabilities.obstacles(to: .signedUploads).map(\.capability) == [.signedURLs])
            #expect(try await store.objects(.all, maximumCount: 10).map(\.name) == [.format])
        }
    }

    @Test func manyListingsAtOnceCostNoMoreThanAFew() async throws {
        let rig = try NodeStoreRig()
        try await rig.serve { port in
            let store = try rig.store(port: port)
            try await store.put(.somePack(), [1])
            let cursors = try await (0..<40).asyncMap { _ in try await store.list(.packs) }
            for cursor in cursors { #expect(try await cursor.nextPage().count == 1) }
            await #expect(throws: StoreError.self) { _ = try await cursors[0].nextPage() }
            #expect(try await cursors[39].nextPage().isEmpty)
        }
    }
}

extension ObjectName {
    static func somePack() throws -> ObjectName {
        .pack(try #require(PackID(bytes: RandomSource.system.bytes(32))), Generation(from: .system))
    }
}

extension Sequence {
    fileprivate func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}
