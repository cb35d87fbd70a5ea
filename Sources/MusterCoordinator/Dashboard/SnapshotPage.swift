import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// The page of one snapshot: where its replicas are, and what was found of it.
extension Coordinator {
    private static let verdictsShown = 100

    func snapshotPage(_ call: Call) async throws -> Response {
        let snapshot = try await snapshot(call.parameters[0], for: call.caller)
        let now = clock.now()
        let verdicts = try await catalog.verdicts(of: snapshot.number, limit: Self.verdictsShown)
        let message = message(of: snapshot)
        let title = "Snapshot \(snapshot.id.description.prefix(12))"
        let page = Page(title, in: .nodes) {
            PageParts.heading(
                title,
                under: [
                    (PagePath("nodes", snapshot.node.description), snapshot.nodeName),
                    (PagePath("databases", snapshot.database.description), snapshot.databaseName),
                ], badge: SnapshotParts.verdict(snapshot.verdict))
            PageParts.facts(SnapshotParts.facts(of: snapshot, now: now))
            PageParts.section("Replicas", id: "replicas") {
                SnapshotParts.replicas(message)
                PageParts.table(
                    "Replicas, part by part",
                    [.text("Store"), .text("Manifest"), .text("Receipt"), .text("Packs"), .text("Checked")],
                    // What was in a store that was given up counts for nothing.
                    rows: snapshot.replicas.filter { stores[$0.store] != nil }.map { replica in
                        [
                            PageParts.name(replica.storeName), SnapshotParts.badge(replica.manifestState),
                            SnapshotParts.badge(replica.receiptState), SnapshotParts.badge(replica.packState),
                            PageParts.ago(replica.checkedAt, now: now),
                        ]
                    })
            }
            PageParts.section("Verdicts", id: "verdicts") {
                if verdicts.isEmpty { PageParts.empty("It was never inspected.") }
                if !verdicts.isEmpty {
                    PageParts.table(
                        "Verdicts, newest first", [.text("Run"), .text("Level"), .text("Result"), .text("When")],
                        rows: verdicts.map { verdict in
                            [
                                tag("a", .href(PagePath("verifications", verdict.run.description))) {
                                    PageParts.shortID(verdict.run.description)
                                },
                                .text(verdict.level),
                                PageParts.badge(
                                    verdict.passed ? .good : .bad, verdict.passed ? "passed" : "failed"),
                                PageParts.ago(verdict.at, now: now),
                            ]
                        })
                }
            }
        }
        return page.response(for: call.session, now: now)
    }
}

/// What is told of a snapshot.
enum SnapshotParts {
    static let columns: [PageParts.Column] = [
        .text("Snapshot"), .text("Received"), .number("Size"), .number("Stored"), .text("Replicas"), .text("Verdict"),
        .text("Labels"),
    ]

    static func row(_ snapshot: Catalog.Snapshot, _ message: Muster_V1_Snapshot, now: Timestamp) -> [HTML] {
        [
            tag("a", .href(PagePath("snapshots", snapshot.id.description))) {
                PageParts.shortID(snapshot.id.description)
            },
            PageParts.ago(snapshot.receivedAt, now: now),
            .text(PageText.bytes(snapshot.sizeBytes)),
            .text(PageText.bytes(snapshot.storedBytes)),
            replicas(message),
            verdict(snapshot.verdict),
            labels(snapshot.labels),
        ]
    }

    /// How many of the replicas that are wanted are whole, as the command line counts them, and each one there is or should
    /// be.
    static func replicas(_ snapshot: Muster_V1_Snapshot) -> HTML {
        let counted = snapshot.replicas.filter { !$0.surplus }
        let whole = counted.count { $0.state == "present" }
        let wanted = max(Int(snapshot.wantedReplicas), counted.count)
        return tag("span", .class("badges")) {
            PageParts.badge(whole >= wanted ? .good : whole > 0 ? .warning : .bad, "\(whole) of \(wanted)")
            for replica in snapshot.replicas { badge(replica) }
        }
    }

    private static func badge(_ replica: Muster_V1_Replica) -> HTML {
        switch replica.state {
        case "present":
            PageParts.badge(replica.surplus ? .idle : .good, replica.store + (replica.surplus ? " surplus" : ""))
        case "wanted": PageParts.badge(.idle, "\(replica.store) wanted")
        default: PageParts.badge(.bad, "\(replica.store) \(replica.state)")
        }
    }

    static func badge(_ state: Catalog.ReplicaState) -> HTML {
        PageParts.badge(state == .present ? .good : .bad, state.rawValue)
    }

    static func verdict(_ verdict: String) -> HTML {
        guard !verdict.isEmpty else { return PageParts.badge(.idle, "not inspected") }
        return PageParts.badge(verdict.hasPrefix("failed") ? .bad : .good, verdict)
    }

    private static func labels(_ labels: [String: String]) -> HTML {
        tag("span", .class("badges")) {
            for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
                tag("span", .class("label")) { PageParts.name("\(key)=\(value)") }
            }
        }
    }

    static func facts(of snapshot: Catalog.Snapshot, now: Timestamp) -> [(String, HTML)] {
        var facts: [(String, HTML)] = [
            ("Received", PageParts.time(snapshot.receivedAt)),
            ("Captured", PageParts.time(snapshot.createdAt)),
            ("Size", .text(PageText.bytes(snapshot.sizeBytes))),
            ("Stored", .text(PageText.bytes(snapshot.storedBytes))),
            ("Pages", .text("\(PageText.grouped(Int(snapshot.pageCount))) of \(snapshot.pageSize) bytes")),
            ("Packs", .text(PageText.grouped(Int(snapshot.packCount)))),
            ("Sequence", .text("\(snapshot.sequence) of lineage \(snapshot.lineage.description.prefix(12))")),
            ("Captured by", .text(snapshot.method)),
            ("Rebuilt and checked", PageParts.ago(snapshot.verifiedAt, now: now)),
        ]
        if !snapshot.labels.isEmpty { facts.append(("Labels", labels(snapshot.labels))) }
        for hold in snapshot.holds {
            facts.append(("Held as \(hold.name)", .text("\(hold.reason) (\(hold.actor))")))
        }
        if let mark = snapshot.mark { facts.append(("Given up", PageParts.ago(mark.at, now: now))) }
        facts.append(("Checksum", tag("code") { snapshot.contentRoot.description }))
        facts.append(("Id", tag("code") { snapshot.id.description }))
        return facts
    }
}
