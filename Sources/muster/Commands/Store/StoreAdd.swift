import ArgumentParser
import MusterAPI
import MusterStore

struct StoreAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add a store; what belongs there is copied to it by itself.",
        discussion: """
            The place must be empty: a folder of the coordinator's machine, node://HOST:PORT/NODE where
            'muster store serve' runs, or s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION in a bucket that
            is there (&style=virtual where the bucket is part of the host's name; without an endpoint it is Amazon's).
            It is probed first, and refused if it cannot keep replicas.
            """)

    @Argument(help: "Where the store is, as the coordinator sees it.")
    var url: String

    @Option(help: "The store's name.")
    var name: String

    @Option(help: "Its failure domain: replicas are spread over sites. Default: one of its own.")
    var site: String = ""

    @OptionGroup var s3: S3Options

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        var request = Muster_V1_StoreAddRequest()
        (request.name, request.url, request.site) = (name, url, site)
        if url.hasPrefix("s3:") {
            let access = try s3.required(for: url)
            request.access.accessKeyID = access.credentials.accessKeyID
            request.access.secretAccessKey = access.credentials.secretAccessKey
            request.access.sessionToken = access.credentials.sessionToken ?? ""
            request.access.authority = access.authority ?? ""
        }
        let coordinator = try admin.coordinator()
        try admin.format.show(try await coordinator.add(store: request).stores.map(StoreRow.init))
        for line in StoreShortfall.lines(try await coordinator.lastProbe(ofStore: name)) { Console.note(line) }
    }
}

/// What a store that was taken cannot be used for, as its first probe found.
enum StoreShortfall {
    static func lines(_ probe: Muster_V1_StoreProbe) -> [String] {
        let wanted = StoreFeature.ofEveryStore.map(\.rawValue)
        return probe.features.filter { wanted.contains($0.name) && !$0.lacks.isEmpty }.map { feature in
            "note: store '\(probe.store)' cannot be used for \(feature.name): it lacks "
                + feature.lacks.joined(separator: ", ")
        }
    }
}

struct StoreList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the stores, and what each of them lacks.")

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try admin.format.show(try await admin.coordinator().stores().stores.map(StoreRow.init))
    }
}

struct StorePlace: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "place", abstract: "Say whether a store takes new snapshots.",
        discussion: """
            A draining store takes nothing new; what it has is copied elsewhere and then given up, until 'muster store
            list' says that it is empty. A lost one is given up with all that is in it; it cannot be taken back, so that
            wants --confirm.

            Exit status: 0 done, 1 failed, 3 no such store, 64 not confirmed.
            """)

    enum State: String, ExpressibleByArgument, CaseIterable { case active, draining, lost }

    @Argument(help: "The store's name.")
    var name: String

    @Argument(help: "active, draining or lost.")
    var state: State

    @OptionGroup var confirmation: Confirmation
    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        if state == .lost, !confirmation.confirm {
            try showLoss(of: name, try await coordinator.stores().stores)
            return try confirmation.require()
        }
        let list = try await coordinator.change(store: name, to: state.rawValue)
        try admin.format.show(list.stores.map(StoreRow.init))
    }

    private func showLoss(of name: String, _ stores: [Muster_V1_StoreStatus]) throws {
        guard let store = stores.first(where: { $0.name == name }) else {
            throw NamedThingMissing(
                summary: "there is no store '\(name)'", hint: "Look at the names with 'muster store list'.")
        }
        let row = StoreRow(store)
        // What others are still to get may be nowhere but here.
        let wanted = stores.filter { $0.name != name }.reduce(0) { $0 + $1.wantedCopies }
        try admin.format.show(
            row,
            lines: [
                ("would give up", name), ("url", row.url), ("state", row.state), ("placement", row.placement),
                ("snapshots there", String(row.heldSnapshots)), ("packs there", String(row.heldPacks)),
                ("copies that other stores still lack", String(wanted)),
                (
                    "what only it has",
                    row.empty
                        ? "nothing: it is empty"
                        : "is asked for again from its nodes; what they have no more is lost ('draining' copies it first)"
                ),
            ])
    }
}
