package import MusterAPI
import MusterCatalog
import MusterFormat
package import MusterModel

/// Makes an admin without one: by whoever has the coordinator's directory, and with it the authority's key.
package struct AdminRecovery: Sendable {
    private let directory: CoordinatorDirectory
    private let clock: any WallClock
    private let random: RandomSource

    package init(directory: CoordinatorDirectory, clock: some WallClock, random: RandomSource) {
        (self.directory, self.clock, self.random) = (directory, clock, random)
    }

    /// - Throws: `CoordinatorSetupError.alreadyRunning` while the coordinator runs, `.adminExists` where somebody has a good
    ///   certificate under the name.
    package func makeAdmin(name: String) async throws -> AdminContext {
        let settings = try CoordinatorSettings(yaml: try CoordinatorService.settingsText(directory))
        let lock = try DirectoryLock(directory)
        defer { withExtendedLifetime(lock) {} }
        let authority = try Authority(
            certificatePEM: try PrivateFile.readText(directory.authority),
            keyPEM: try PrivateFile.readText(directory.authorityKey))
        let catalog = try Catalog(path: directory.catalog, names: .stored) { Coordinator.hash($0) }
        let made: Result<AdminContext, any Error>
        do {
            made = .success(
                try await makeAdmin(
                    name: try Coordinator.checked(personName: name), catalog,
                    AdminIssue(authority: authority, settings: settings, random: random)))
        } catch {
            made = .failure(error)
        }
        try await catalog.close()
        return try made.get()
    }

    private func makeAdmin(name: String, _ catalog: Catalog, _ issue: AdminIssue) async throws -> AdminContext {
        let now = clock.now()
        let isTaken = try await catalog.people(now: now).contains { certificate, revokedAt in
            certificate.subject == name && revokedAt == nil && certificate.notAfter > now
        }
        guard !isTaken else { throw CoordinatorSetupError.adminExists(name: name) }
        return try await issue.make(
            catalog, name: name, now: now,
            audit: Catalog.AuditRow(
                actor: "coordinator admin", action: "person-add", subject: "\(name) as admin", at: now))
    }
}
