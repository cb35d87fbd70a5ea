import ArgumentParser
import Foundation
import MusterAPI
import MusterAgent
import MusterModel
import MusterSQLite

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Look for what would keep backups from working, and say what to do.",
        discussion: """
            With --agent-dir it looks at a node: its files, its way to the coordinator, every database it
            protects. Otherwise at the coordinator, through the admin context.

            Exit status: 0 nothing found, 2 something to look at, 1 nothing works.
            """)

    @Option(help: "Look at this agent's directory.")
    var agentDir: String?

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        var findings: [DoctorFinding] = []
        if let agentDir {
            findings = await NodeExamination(directory: AgentDirectory(path: agentDir)).findings()
        } else {
            findings = await examineCoordinator()
        }
        try admin.format.show(findings)
        if findings.allSatisfy({ $0.state == .failed }) { throw Outcome.failed }
        if findings.contains(where: { $0.state != .ok }) { throw Outcome.partly }
    }

    private func examineCoordinator() async -> [DoctorFinding] {
        do {
            let status = try await admin.coordinator().status()
            var findings = [
                DoctorFinding(.ok, "coordinator", "version \(status.version), up since \(status.startedAt)")
            ]
            if status.version != MusterVersion.text {
                findings.append(
                    DoctorFinding(
                        .warning, "version", "this command is \(MusterVersion.text), the coordinator \(status.version)",
                        hint: "Run the same version on both."))
            }
            findings += clock(status)
            for store in status.stores {
                findings.append(
                    store.state == "ok"
                        ? DoctorFinding(.ok, "store \(store.name)", "\(StoreRow.room(store.freeBytes)) free")
                        : DoctorFinding(.failed, "store \(store.name)", store.state, hint: "Look at the store's disk."))
            }
            findings += status.alarms.map {
                DoctorFinding(.warning, "alarm \($0.kind)", "\($0.node) \($0.database): \($0.summary)", hint: $0.hint)
            }
            return findings
        } catch {
            return [DoctorFinding(error, "coordinator")]
        }
    }

    private func clock(_ status: Muster_V1_Status) -> [DoctorFinding] {
        guard let theirs = Timestamp(status.now) else { return [] }
        let offset = (Surroundings.clock.now() - theirs).inSeconds
        guard abs(offset) > 5 else { return [DoctorFinding(.ok, "clock", "within 5 s of the coordinator's")] }
        return [
            DoctorFinding(
                .warning, "clock", "\(Quantity.seconds(offset)) off the coordinator's",
                hint: "Set up time synchronisation on both machines.")
        ]
    }
}

/// One line of the doctor's report.
struct DoctorFinding: Row {
    enum State: String, Encodable {
        case ok, warning, failed
    }

    static let columns = ["state", "what", "found", "hint"]
    let state: State
    let what, found, hint: String

    init(_ state: State, _ what: String, _ found: String, hint: String = "") {
        (self.state, self.what, self.found, self.hint) = (state, what, found, hint)
    }

    init(_ error: any Error, _ what: String) {
        let actionable = error as? any ActionableError ?? UnforeseenError(error)
        self.init(.failed, what, actionable.summary, hint: actionable.hint)
    }

    var cells: [String] { [state.rawValue, what, found, hint] }
}
