import ArgumentParser
import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterTransfer

/// What every admin command takes.
struct AdminOptions: ParsableArguments {
    @Option(help: "The admin context file. Default: $MUSTER_CONTEXT, else the file that 'coordinator init' wrote.")
    var context: String?

    @Option(help: "How to print the result: table or json.")
    var format = OutputFormat.table

    var contextPath: String { context ?? ContextFile.defaultPath }

    /// Opens the admin plane of the coordinator.
    func coordinator() throws -> CoordinatorClient {
        let context = try readContext()
        let tls = TLSFiles(
            authority: context.authority,
            identity: .init(certificate: context.certificate, key: context.privateKey))
        return CoordinatorClient(
            http: try HTTPClient(tls: tls), url: context.url, retry: Surroundings.retry)
    }

    func readContext() throws -> AdminContext {
        let path = contextPath
        guard let json = FileManager.default.contents(atPath: path) else {
            throw ContextMissing(path: path)
        }
        do {
            return try AdminContext(json: json)
        } catch {
            throw ContextDamaged(path: path)
        }
    }
}

enum ContextFile {
    /// `$MUSTER_CONTEXT`, else `muster/context.json` under the user's configuration folder.
    static var defaultPath: String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["MUSTER_CONTEXT"], !path.isEmpty { return path }
        let home = environment["HOME"] ?? "/"
        let folder = environment["XDG_CONFIG_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? home + "/.config"
        return folder + "/muster/context.json"
    }
}

/// The file for an admin context, made before the context is: where it cannot be written, nothing else was done yet.
///
/// Mode 0600 from the first byte on, as it holds a private key. Until `write` returned, the end of this object
/// removes the file.
final class ReservedContext {
    private let path: String
    private let descriptor: Int32
    private var isWritten = false

    init(path: String) throws {
        self.path = path
        // Throws before the object is whole, so that its end never removes what somebody else put there.
        descriptor = try Self.make(path)
    }

    private static func make(_ path: String) throws -> Int32 {
        let folder = URL(filePath: path).deletingLastPathComponent()
        do {
            try FileManager.default.createDirectory(
                at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw ContextNotWritten(path: path, reason: error.localizedDescription)
        }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            if errno == EEXIST { throw ContextExists(path: path) }
            throw ContextNotWritten(path: path, reason: String(cString: strerror(errno)))
        }
        return descriptor
    }

    deinit {
        close(descriptor)
        if !isWritten { unlink(path) }
    }

    func write(_ context: AdminContext) throws {
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
        try file.write(contentsOf: try context.json())
        try file.synchronize()
        isWritten = true
    }
}

private struct ContextExists: ActionableError {
    let path: String
    var summary: String { "an admin context exists at '\(path)'" }
    var hint: String { "Move it away, or write the new one elsewhere with --context FILE." }
    var isTransient: Bool { false }
}

private struct ContextNotWritten: ActionableError {
    let path, reason: String
    var summary: String { "the admin context cannot be written to '\(path)': \(reason)" }
    var hint: String { "Choose another place with --context FILE." }
    var isTransient: Bool { false }
}

struct ContextMissing: ActionableError {
    let path: String
    var summary: String { "there is no admin context at '\(path)'" }
    var hint: String {
        "Give the file that 'muster coordinator init' wrote with --context FILE or in MUSTER_CONTEXT."
    }
    var isTransient: Bool { false }
}

struct ContextDamaged: ActionableError {
    let path: String
    var summary: String { "'\(path)' is not an admin context" }
    var hint: String { "Copy the file again from the machine where 'muster coordinator init' ran." }
    var isTransient: Bool { false }
}
