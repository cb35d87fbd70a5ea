import ArgumentParser
import MusterAPI
import MusterModel

/// A policy by the flags of restic's `forget`, and a few of our own.
struct PolicyOptions: ParsableArguments {
    @Option(name: [.customShort("l"), .long], help: "Keep the newest N, or 'unlimited'.")
    var keepLast: String?

    @Option(help: "Keep the newest of each of the last N minutes that have one.")
    var keepMinutely: String?

    @Option(name: [.customShort("H"), .long], help: "The same for hours.")
    var keepHourly: String?

    @Option(name: [.customShort("d"), .long], help: "The same for days.")
    var keepDaily: String?

    @Option(name: [.customShort("w"), .long], help: "The same for weeks.")
    var keepWeekly: String?

    @Option(name: [.customShort("m"), .long], help: "The same for months.")
    var keepMonthly: String?

    @Option(name: [.customShort("y"), .long], help: "The same for years.")
    var keepYearly: String?

    @Option(help: "Keep all that are not older, before the newest, than a span such as 1y5m7d2h.")
    var keepWithin: String?

    @Option(help: "Keep the newest of each minute within a span.")
    var keepWithinMinutely: String?

    @Option(help: "The same for hours.")
    var keepWithinHourly: String?

    @Option(help: "The same for days.")
    var keepWithinDaily: String?

    @Option(help: "The same for weeks.")
    var keepWithinWeekly: String?

    @Option(help: "The same for months.")
    var keepWithinMonthly: String?

    @Option(help: "The same for years.")
    var keepWithinYearly: String?

    @Option(
        name: [.customLong("keep-tag"), .customLong("keep-label")],
        help: "Keep what has all these labels, as in env=prod,release; may be given again.")
    var keepTag: [String] = []

    @Option(help: "How slots are counted: restic, or pbs as Proxmox Backup Server does.")
    var mode: String?

    @Option(help: "Nothing younger expires. Default: 7d.")
    var minAge: String?

    @Option(help: "For so long what was given up can be brought back. Default: 7d.")
    var grace: String?

    private var rules: [String: String] {
        let counts = [
            "keep-last": keepLast, "keep-minutely": keepMinutely, "keep-hourly": keepHourly, "keep-daily": keepDaily,
            "keep-weekly": keepWeekly, "keep-monthly": keepMonthly, "keep-yearly": keepYearly,
        ]
        let spans = [
            "keep-within": keepWithin, "keep-within-minutely": keepWithinMinutely,
            "keep-within-hourly": keepWithinHourly, "keep-within-daily": keepWithinDaily,
            "keep-within-weekly": keepWithinWeekly, "keep-within-monthly": keepWithinMonthly,
            "keep-within-yearly": keepWithinYearly,
        ]
        return (counts.merging(spans) { first, _ in first }).compactMapValues { $0 }
    }

    var isGiven: Bool {
        !rules.isEmpty || !keepTag.isEmpty || mode != nil || minAge != nil || grace != nil
    }

    var terms: RetentionTerms {
        var terms = RetentionTerms()
        (terms.rules, terms.keepTags) = (rules, keepTag)
        terms.mode = mode ?? terms.mode
        terms.minimumAge = minAge ?? terms.minimumAge
        terms.grace = grace ?? terms.grace
        return terms
    }

    /// - Throws: a usage error that says what is wrong with the policy.
    func check() throws {
        do throws(RetentionError) {
            _ = try terms.policy()
        } catch {
            throw ValidationError("\(error.summary)\nhint: \(error.hint)")
        }
    }
}

/// Whose snapshots a policy is for: exactly one is named.
struct PolicyScopeOptions: ParsableArguments {
    @Flag(help: "The whole fleet.")
    var fleet = false

    @Option(help: "A node, by name or id; with --database the database of that node.")
    var node: String?

    @Option(help: "A database, by name or id.")
    var database: String?

    @Option(help: "All snapshots that carry this label, key=value.")
    var label: Label?

    func check() throws {
        let named = [fleet, node != nil || database != nil, label != nil]
        guard named.count(where: { $0 }) == 1 else {
            throw ValidationError(
                "name whose snapshots: --fleet, --node N, --database D (with or without --node) or --label K=V")
        }
    }

    var scope: Muster_V1_RetentionScope {
        var scope = Muster_V1_RetentionScope()
        (scope.fleet, scope.node, scope.database) = (fleet, node ?? "", database ?? "")
        scope.label = label.map { "\($0.key)=\($0.value)" } ?? ""
        return scope
    }
}

extension Muster_V1_RetentionTerms {
    init(_ terms: RetentionTerms) {
        self.init()
        (mode, rules, keepTags) = (terms.mode, terms.rules, terms.keepTags)
        (minAge, grace) = (terms.minimumAge, terms.grace)
    }
}

/// Which databases a command goes over; without any option, all.
struct DatabaseChoice: ParsableArguments {
    @Flag(help: "Every database of every node: what is done anyway where neither is named.")
    var fleet = false

    @Option(help: "Only this node, by name or id.")
    var node: String?

    @Option(help: "Only this database, by name or id.")
    var database: String?

    func check() throws {
        if fleet, node != nil || database != nil {
            throw ValidationError("--fleet means every node and database: give it without --node and --database")
        }
    }

    func databases(_ coordinator: CoordinatorClient) async throws -> [Muster_V1_Database] {
        let all = try await coordinator.databases(node: node ?? "")
        guard let database else { return all }
        let chosen = all.filter { $0.name == database || $0.id == database }
        guard !chosen.isEmpty else {
            throw NamedThingMissing(
                summary: "there is no database '\(database)'", hint: "Look at 'muster database list'.")
        }
        return chosen
    }
}
