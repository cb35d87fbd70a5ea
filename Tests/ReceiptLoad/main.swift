/// How many receipts a coordinator gives: nodes that commit small snapshots as fast as they are answered.
///
///     receipt-load durable FOLDER                  appends of 4 KiB a second, each followed by fsync
///     receipt-load commits COUNT AGENT-DIR...      so many commits of each of these joined nodes, all at once
///     receipt-load store COUNT DATABASES KEY STORE AGENT-DIR...   so many snapshots of so many databases of these nodes,
///                                                  written into a folder store with receipts, by the coordinator's
///                                                  receipt key in the file KEY
///     receipt-load join COUNT CONTEXT FOLDER       so many nodes join the coordinator of an admin's context
///     receipt-load fleet DATABASES SECONDS INTERVAL SEED AGENT-DIR...   these nodes live for so long: each waits for
///                                                  work, reports, and commits each database once in INTERVAL seconds
///
/// Manifests and packs are made before the clock starts. Every receipt is checked afterwards.
import Foundation
import MusterAPI
import MusterAgent
import MusterFormat
import MusterModel
import MusterTransfer

let arguments = Array(CommandLine.arguments.dropFirst())
do {
    switch (arguments.first, arguments.count) {
    case ("durable", 2): print(try DurableRate.measure(in: arguments[1]))
    case ("commits", 3...):
        guard let count = Int(arguments[1]), count > 0 else { throw Usage() }
        try await Load(directories: arguments.dropFirst(2).map { AgentDirectory(path: $0) }, count: count).run()
    case ("store", 6...):
        let text = try String(contentsOfFile: arguments[3], encoding: .utf8).filter { !$0.isWhitespace }
        guard let count = Int(arguments[1]), count > 0, let databases = Int(arguments[2]), databases > 0,
            let key = Hex.decode(text).flatMap({ SigningKey(privateBytes: $0) })
        else { throw Usage() }
        try StoreHistory(
            directories: arguments.dropFirst(5).map { AgentDirectory(path: $0) }, count: count, databases: databases,
            receiptKey: key, store: arguments[4]
        ).run()
    case ("join", 4):
        guard let count = Int(arguments[1]), count > 0, let json = FileManager.default.contents(atPath: arguments[2])
        else { throw Usage() }
        let context = try AdminContext(json: json)
        let tls = TLSFiles(
            authority: context.authority,
            identity: .init(certificate: context.certificate, key: context.privateKey))
        let admin = CoordinatorClient(
            http: try HTTPClient(tls: tls), url: context.url,
            retry: .init(policy: RetryPolicy(maximumAttempts: 4), random: .system, clock: ContinuousClock()))
        try await FleetLoad.join(count, admin: admin, folder: arguments[3])
    case ("fleet", 6...):
        let numbers = arguments[1...4].compactMap { Int($0) }
        guard numbers.count == 4, numbers.allSatisfy({ $0 >= 0 }) else { throw Usage() }
        try await FleetLoad(
            directories: arguments.dropFirst(5).map { AgentDirectory(path: $0) },
            shape: .init(
                databases: numbers[0], seconds: numbers[1], interval: numbers[2], seed: UInt64(numbers[3]))
        ).run()
    default: throw Usage()
    }
} catch is Usage {
    FileHandle.standardError.write(
        Data(
            """
            usage: receipt-load durable FOLDER | commits COUNT DIR... | store COUNT DATABASES KEY STORE DIR...
                   | join COUNT CONTEXT FOLDER | fleet DATABASES SECONDS INTERVAL SEED DIR...

            """.utf8))
    exit(64)
} catch {
    FileHandle.standardError.write(Data("receipt-load: \(error)\n".utf8))
    exit(1)
}

struct Usage: Error {}
