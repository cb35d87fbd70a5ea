import ArgumentParser

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Take snapshots and look at them.",
        subcommands: [SnapshotCreate.self, SnapshotList.self, SnapshotShow.self])
}

/// `key=value`.
struct Label: ExpressibleByArgument {
    let key, value: String

    init?(argument: String) {
        guard let separator = argument.firstIndex(of: "="), separator > argument.startIndex else { return nil }
        key = String(argument[..<separator])
        value = String(argument[argument.index(after: separator)...])
    }
}
