import ArgumentParser
import MusterAPI

struct RetentionSet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Set the policy of the fleet, a node, a label or a database.",
        discussion: """
            The policy replaces the one that this scope has. Nothing is given up by this command: look first with
            'retention preview'. The coordinator applies the policies by itself, every hour unless its settings say
            otherwise (retention_every).
            """)

    @OptionGroup var scope: PolicyScopeOptions
    @OptionGroup var policy: PolicyOptions

    @Flag(help: "Take the policy of this scope away, so that the next wider one counts.")
    var remove = false

    @OptionGroup var admin: AdminOptions

    func validate() throws {
        try scope.check()
        guard remove else { return try policy.check() }
        if policy.isGiven { throw ValidationError("--remove takes a policy away: give it without rules") }
    }

    func run() async throws {
        var request = Muster_V1_RetentionSetRequest()
        (request.scope, request.remove) = (scope.scope, remove)
        if !remove { request.terms = Muster_V1_RetentionTerms(policy.terms) }
        let state = try await admin.coordinator().setRetention(request)
        try admin.format.show(state.policies.map(PolicyRow.init))
    }
}
