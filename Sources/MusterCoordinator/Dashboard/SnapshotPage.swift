import Hummingbird
import MusterCatalog
import MusterModel

/// The page of one snapshot: where its replicas are, and what was found of it.
extension Coordinator {
    private static let verdictsShown = 100

    func snapshotPage(_ call: Call) async throws -> Response {
        let snapshot = try await snapshot(call.parameters[0], for: call.caller)
        let now = clock.now()
        let verdicts = try await catalog.verdicts(of: snapshot.number, limit: Self.verdictsShown)
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
                PageParts.table(
                    "Replicas of the manifest and its receipt",
                    [.text("Store"), .text("Manifest"), .text("Receipt"), .text("Checked")],
                    rows: snapshot.replicas.map { replica in
                        [
                            PageParts.name(replica.storeName), SnapshotParts.badge(replica.manifestState),
                            SnapshotParts.badge(replica.receiptState),
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

    static func row(_ snapshot: Catalog.Snapshot, now: Timestamp) -> [HTML] {
        [
            tag("a", .href(PagePath("snapshots", snapshot.id.description))) {
                PageParts.shortID(snapshot.id.description)
            },
            PageParts.ago(snapshot.receivedAt, now: now),
            .text(PageText.bytes(snapshot.sizeBytes)),
            .text(PageText.bytes(snapshot.storedBytes)),
            replicas(snapshot.replicas),
            verdict(snapshot.verdict),
            labels(snapshot.labels),
        ]
    }

    private static func replicas(_ replicas: [Catalog.ManifestReplica]) -> HTML {
        guard !replicas.isEmpty else { return PageParts.badge(.bad, "none") }
        return tag("span", .class("badges")) {
            for replica in replicas {
                let isGood = replica.wholeState == .present
                PageParts.badge(
                    isGood ? .good : .bad,
                    isGood ? replica.storeName : "\(replica.storeName) \(replica.wholeState.rawValue)"
                )
            }
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
