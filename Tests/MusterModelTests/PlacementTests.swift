import MusterModel
import Testing

@Suite("What a placement asks of the stores")
struct PlacementTests {
    private static let node = NodeID(String(repeating: "01", count: 16))

    /// So many stores on no node, and so many on one.
    private static func stores(_ own: Int, onNode: Int = 0, site: String = "") -> [Placement.Candidate] {
        (0..<own + onNode).map { number in
            Placement.Candidate(
                number: Int64(number), name: "s\(number)", site: site, node: number < own ? nil : node)
        }
    }

    private static let receipts: [(Int, Int, Int, String?)] = [
        (1, 1, 0, nil), (2, 2, 0, nil), (1, 0, 2, "a receipt needs a store that is on no node, and there is none"),
        (2, 1, 0, "a receipt waits for 2 stores, and the fleet has 1"),
        (2, 1, 1, "a receipt waits for 2 stores, and a node that keeps a store has 1 beside its own"),
        (2, 2, 1, nil),
    ]

    @Test(arguments: receipts)
    func whoCanGiveAReceipt(beforeReceipt: Int, own: Int, onNode: Int, shortfall: String?) {
        var placement = Placement()
        placement.beforeReceipt = beforeReceipt
        #expect(placement.receiptShortfall(of: Self.stores(own, onNode: onNode)) == shortfall)
    }

    private static let asked: [(Int?, Int?, Int, String?)] = [
        (nil, nil, 1, nil), (2, nil, 2, nil), (3, nil, 2, "3 replicas are wanted, and 2 active stores can have one"),
        (2, 2, 2, "2 sites are wanted, and the active stores are in 1"),
    ]

    @Test(arguments: asked)
    func whatIsAskedForByNumber(replicas: Int?, sites: Int?, own: Int, shortfall: String?) {
        var placement = Placement()
        (placement.replicas, placement.sites) = (replicas, sites)
        #expect(placement.shortfall(among: Self.stores(own, site: "cellar")) == shortfall)
    }
}
