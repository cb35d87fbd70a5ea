import Crypto
import MusterModel
import MusterStore
import MusterTransfer
import X509

/// What the coordinator uses the stores on nodes with.
///
/// Its certificate is made at each start and its key is in memory alone: there is no copy that a thief of the directory
/// could use who has not the authority itself.
struct NodeStoreAccess: Sendable {
    private let tls: TLSFiles
    private let spool: String
    private let random: RandomSource
    private let patience: Duration

    /// - Parameter patience: how long a store's node may take to answer at all.
    init(
        authority: Authority, directory: CoordinatorDirectory, random: RandomSource, now: Timestamp,
        patience: Duration
    ) throws {
        let key = try Authority.drawKey(random)
        let issued = try authority.issueCoordinator(
            publicKey: Certificate.PublicKey(key.publicKey), random: random, now: now)
        tls = TLSFiles(
            authority: try authority.certificatePEM,
            identity: TLSFiles.Identity(certificate: issued.pem, key: key.pemRepresentation))
        spool = directory.spool
        (self.random, self.patience) = (random, patience)
        try PrivateFile.makeDirectory(spool)
    }

    func open(_ place: NodeStore.Place, name: String) throws(StoreError) -> NodeStore {
        var settings = HTTPClient.Settings()
        // Others wait meanwhile, and there are other stores.
        settings.connectTimeout = patience
        return try NodeStore(
            name: name, place: place, tls: tls, spool: spool,
            retry: StoreRetry(
                random: random, clock: ContinuousClock(), stallTimeout: max(patience, .seconds(60))),
            settings: settings)
    }
}

extension NodeStoreAddress {
    /// As the catalog has it: with the node's id, which never belongs to another node.
    var place: NodeStore.Place? { NodeID(node).map { place(of: $0) } }
}
