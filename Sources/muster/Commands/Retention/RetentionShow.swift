import ArgumentParser
import MusterAPI

struct RetentionShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the policies, and the runs that gave something up.")

    @OptionGroup var admin: AdminOptions

    private struct State: Encodable {
        let every: String
        let policies: [PolicyRow]
        let runs: [RunRow]
    }

    private struct RunRow: Row {
        static let columns = ["run", "at", "by", "marked"]
        let run, at, actor: String
        let marked: UInt64

        init(_ message: Muster_V1_RetentionRun) {
            (run, at, actor, marked) = (message.run, message.at, message.actor, message.marked)
        }

        // Whole: it is what 'retention undo' takes.
        var cells: [String] { [run, at, actor, String(marked)] }
    }

    func run() async throws {
        let state = try await admin.coordinator().retention()
        let (policies, runs) = (state.policies.map(PolicyRow.init), state.runs.map(RunRow.init))
        guard admin.format == .table else {
            return try admin.format.show(State(every: state.every, policies: policies, runs: runs), lines: [])
        }
        try admin.format.show(policies)
        Console.result("")
        try admin.format.show(runs)
        Console.note(state.every == "never" ? "applied by hand only" : "applied every \(state.every)")
    }
}

struct PolicyRow: Row {
    static let columns = ["scope", "of", "rules", "mode", "min age", "grace", "set by", "set at"]
    let scope: String
    @Known var node: String?
    @Known var database: String?
    @Known var label: String?
    let mode: String
    let rules: [String: String]
    let keepTags: [String]
    let minAge, grace, setBy, setAt: String

    init(_ policy: Muster_V1_RetentionPolicy) {
        scope = policy.scope
        (mode, rules, keepTags) = (policy.terms.mode, policy.terms.rules, policy.terms.keepTags)
        (minAge, grace) = (policy.terms.minAge, policy.terms.grace)
        (setBy, setAt) = (policy.setBy, policy.setAt)
        (node, database, label) = (known(policy.node), known(policy.database), known(policy.label))
    }

    var cells: [String] {
        let texts = rules.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        let tags = keepTags.map { "keep-tag '\($0)'" }
        return [
            scope, label ?? [node, database].compactMap { $0 }.joined(separator: "/"),
            (texts + tags).joined(separator: ", "), mode, minAge, grace, setBy, setAt,
        ]
    }
}
