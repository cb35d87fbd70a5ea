/// How many receipts a coordinator gives: nodes that commit small snapshots as fast as they are answered.
///
///     receipt-load durable FOLDER                  appends of 4 KiB a second, each followed by fsync
///     receipt-load commits COUNT AGENT-DIR...      so many commits of each of these joined nodes, all at once
///
/// Manifests and packs are made before the clock starts. Every receipt is checked afterwards.
import Foundation
import MusterAPI
import MusterAgent

let arguments = Array(CommandLine.arguments.dropFirst())
do {
    switch (arguments.first, arguments.count) {
    case ("durable", 2): print(try DurableRate.measure(in: arguments[1]))
    case ("commits", 3...):
        guard let count = Int(arguments[1]), count > 0 else { throw Usage() }
        try await Load(directories: arguments.dropFirst(2).map { AgentDirectory(path: $0) }, count: count).run()
    default: throw Usage()
    }
} catch is Usage {
    FileHandle.standardError.write(Data("usage: receipt-load durable FOLDER | commits COUNT AGENT-DIR...\n".utf8))
    exit(64)
} catch {
    FileHandle.standardError.write(Data("receipt-load: \(error)\n".utf8))
    exit(1)
}

struct Usage: Error {}
