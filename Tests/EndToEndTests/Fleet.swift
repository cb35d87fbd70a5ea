import Foundation
import Glibc
import MusterSQLite
import StressRig
import Testing

/// How a command ended and what it printed.
struct Outcome {
    let status: Int32
    let output: String
    let errors: String

    var json: JSON { get throws { try JSON(output) } }
}

/// A whole fleet in one temporary folder: a coordinator with one folder store, and nodes.
///
/// It belongs to one test. Whatever still runs when the test ends is killed.
final class Fleet {
    let folder: TemporaryFolder
    /// Where the coordinator is; a rebuilt one may be elsewhere.
    var coordinatorDirectory: String
    let recoveryKey: String
    let port: Int
    let store: StoreFolder
    private(set) var coordinator: Launched?
    private var launches = 0
    /// Agents and coordinators live as long as the fleet, whoever refers to them.
    private var roles: [Launched] = []

    /// Makes a coordinator and starts it.
    ///
    /// - Parameters:
    ///   - stores: folders in the fleet's own; none for the coordinator's.
    ///   - settings: lines for the coordinator's configuration.
    ///   - place: arguments that name a store elsewhere.
    init(stores: [String] = [], settings: String = "", store place: [String] = []) async throws {
        folder = try TemporaryFolder()
        coordinatorDirectory = folder.path("coordinator")
        recoveryKey = folder.path(stores.isEmpty ? "coordinator/recovery-key.txt" : "recovery-key.txt")
        store = StoreFolder(url: folder.url.appending(path: stores.first ?? "coordinator/store"))
        port = try Self.freePorts()
        let outcome = try await run(
            ["coordinator", "init", "--dir", coordinatorDirectory, "--listen", "127.0.0.1:\(port)"]
                + ["--recovery-key-file", recoveryKey] + stores.flatMap { ["--store", folder.path($0)] } + place)
        try #require(outcome.status == 0, "\(outcome.errors)")
        let configuration = coordinatorDirectory + "/coordinator.yaml"
        let text = try String(contentsOfFile: configuration, encoding: .utf8) + settings
        try text.write(toFile: configuration, atomically: true, encoding: .utf8)
        try await startCoordinator()
    }

    func path(_ name: String) -> String { folder.path(name) }

    // MARK: - Commands

    func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> Outcome {
        let launched = try launch(arguments, environment: environment)
        let status = try await launched.end(within: .seconds(120))
        return Outcome(status: status, output: launched.standardOutput, errors: launched.standardError)
    }

    func run(_ arguments: String...) async throws -> Outcome { try await run(arguments) }

    /// Runs a command that must end well.
    @discardableResult
    func succeed(_ arguments: String...) async throws -> Outcome {
        let outcome = try await run(arguments)
        try #require(outcome.status == 0, "\(arguments): \(outcome.errors)")
        return outcome
    }

    /// The document that a command prints, which must end well.
    func json(_ arguments: String...) async throws -> JSON {
        let outcome = try await run(arguments + ["--format", "json"])
        try #require(outcome.status == 0, "\(arguments): \(outcome.errors)")
        return try outcome.json
    }

    func launch(_ arguments: [String], environment: [String: String] = [:]) throws -> Launched {
        launches += 1
        var all = ProcessInfo.processInfo.environment.filter { name, _ in
            !name.hasPrefix("MUSTER_") && name != "XDG_CONFIG_HOME"
        }
        all["HOME"] = folder.url.path(percentEncoded: false)
        all["MUSTER_CONTEXT"] = path("context.json")
        return try Launched(
            arguments, environment: all.merging(environment) { _, new in new }, folder: folder.url,
            name: "launch-\(launches)")
    }

    /// Starts a role, which the fleet ends if the test does not.
    func start(_ arguments: [String], environment: [String: String] = [:]) throws -> Launched {
        let role = try launch(arguments, environment: environment)
        roles.append(role)
        return role
    }

    // MARK: - The coordinator

    /// - Parameter question: a command that answers once it is there.
    func startCoordinator(asking question: [String] = ["status"]) async throws {
        let started = try start(["coordinator", "run", "--dir", coordinatorDirectory])
        coordinator = started
        try await eventually("a coordinator that answers") {
            try #require(started.isRunning, "the coordinator ended: \(started.standardError)")
            return try await self.run(question).status == 0
        }
    }

    func runningCoordinator() throws -> Launched { try #require(coordinator) }

    /// Three ports side by side that nobody listens on, below those that the kernel gives to others.
    static func freePorts() throws -> Int {
        for _ in 0..<200 {
            let port = Int.random(in: 10_000..<30_000)
            if (0...2).allSatisfy({ isFree(port + $0) }) { return port }
        }
        throw NeverHappened(what: "a free port", limit: .zero)
    }

    private static func isFree(_ port: Int) -> Bool {
        let socket = LoopbackSocket()
        return socket.bind(port)
    }

    // MARK: - Snapshots

    /// Newest first.
    func snapshots(_ filter: String...) async throws -> [JSON] {
        let outcome = try await run(["snapshot", "list", "--format", "json"] + filter)
        try #require(outcome.status == 0, "\(outcome.errors)")
        return try outcome.json.list
    }

    func awaitSnapshots(_ count: Int, within limit: Duration = .seconds(180)) async throws -> [JSON] {
        var found: [JSON] = []
        try await eventually("snapshot \(count)", within: limit) {
            found = try await self.snapshots()
            return found.count >= count
        }
        return found
    }

    /// Restores with the recovery key, beside everything else.
    func restore(_ id: String, to name: String) async throws -> String {
        let target = path(name)
        try await succeed(
            "restore", id, "--recovery-key", recoveryKey, "--to", target)
        return target
    }

    /// Restores the snapshot and compares it with the file, byte for byte.
    func expectRestored(_ id: String, equals source: String, _ comment: Comment? = nil) async throws {
        let target = try await restore(id, to: "restored-\(UUID().uuidString).db")
        let isEqual = FileManager.default.contentsEqual(atPath: target, andPath: source)
        #expect(isEqual, comment ?? "snapshot \(id) is not \(source)")
    }
}

/// One node of a fleet.
final class Node {
    let fleet: Fleet
    let name: String
    let directory: String
    private(set) var agent: Launched?

    /// Invites the node and joins it; its agent does not run yet.
    init(_ fleet: Fleet, _ name: String) async throws {
        (self.fleet, self.name) = (fleet, name)
        directory = fleet.path("agent-" + name)
        let token = try await fleet.json("node", "invite", name)["token"].text
        try await fleet.succeed("agent", "join", "--dir", directory, token)
    }

    /// A node that is there already, by its directory.
    init(_ fleet: Fleet, _ name: String, joinedIn directory: String) {
        (self.fleet, self.name, self.directory) = (fleet, name, directory)
    }

    /// - Parameter environment: for this life of the agent.
    @discardableResult
    func start(environment: [String: String] = [:]) throws -> Launched {
        let started = try fleet.start(["agent", "run", "--dir", directory], environment: environment)
        agent = started
        return started
    }

    func kill() async throws { try await agent?.kill() }

    /// The agent itself; what was launched is its supervisor.
    func agentProcess() throws -> pid_t { try #require(try knownAgent()) }

    /// nil while an agent that begins has not written yet who it is.
    func knownAgent() throws -> pid_t? {
        let text = try String(contentsOfFile: directory + "/agent.lock", encoding: .utf8)
        return text.split(separator: "\n").first.flatMap { pid_t($0) }
    }

    func stop() async throws {
        agent?.signal(SIGTERM)
        let status = try await agent?.end()
        #expect(status == 0, "\(agent?.standardError ?? "")")
    }

    func add(_ path: String, name: String? = nil, every: String = "1h") async throws {
        let arguments = ["database", "add", "--dir", directory, path, "--every", every]
        let outcome = try await fleet.run(arguments + (name.map { ["--name", $0] } ?? []))
        try #require(outcome.status == 0, "\(outcome.errors)")
    }

    /// Takes a snapshot of each of the node's databases now.
    @discardableResult
    func snapshot() async throws -> [JSON] {
        try await fleet.json("snapshot", "create", "--node", name, "--wait").list
    }
}

/// A database of the tests' own, closed after each use.
enum SampleDatabase {
    /// - Parameter kibibytes: how much random content, which does not compress.
    @discardableResult
    static func make(_ path: String, kibibytes: Int = 64, journalMode: String = "wal") throws -> String {
        try change(
            path, "PRAGMA journal_mode=\(journalMode)", "CREATE TABLE item(id INTEGER PRIMARY KEY, content BLOB)",
            """
            WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < \(max(1, kibibytes / 16)))
            INSERT INTO item SELECT id, randomblob(16000) FROM n
            """)
        return path
    }

    static func change(_ path: String, _ statements: String...) throws {
        let connection = try SQLiteConnection(path: path, access: .readWrite)
        for statement in statements { try connection.execute(statement) }
    }

    /// Changes the journal mode as soon as nobody else is at the file: here SQLite waits for no lock.
    static func leaveWAL(_ path: String) async throws {
        try await eventually("a database that leaves WAL mode") {
            do {
                try change(path, "PRAGMA journal_mode=DELETE")
                return true
            } catch let error as SQLiteError where error.isTransient {
                return false
            }
        }
    }

    /// Every byte of the database as one reader sees it, wherever it is.
    static func image(_ path: String) throws -> [UInt8] {
        try SQLiteConnection(path: path, access: .readOnly).serialized()
    }

    /// Adds one row, so that there is something new.
    static func grow(_ path: String) throws {
        try change(path, "INSERT INTO item(content) VALUES (randomblob(16000))")
    }

    /// Until the file's times prove that it was not written since: an agent looks for two seconds of rest.
    static func rest(_ path: String) async throws {
        try await eventually("a file at rest") {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            let written = try #require(attributes[.modificationDate] as? Date)
            return Date().timeIntervalSince(written) > 2.1
        }
    }
}
