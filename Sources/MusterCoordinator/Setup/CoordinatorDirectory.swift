import Foundation

/// Where the files of one coordinator are.
package struct CoordinatorDirectory: Sendable {
    package let path: String

    /// - Parameter path: made absolute, so that a later change of directory does not matter.
    package init(path: String) {
        let absolute = URL(filePath: path).standardizedFileURL.path(percentEncoded: false)
        self.path = absolute.count > 1 && absolute.hasSuffix("/") ? String(absolute.dropLast()) : absolute
    }

    var settings: String { path + "/coordinator.yaml" }
    var catalog: String { path + "/catalog.db" }
    var catalogCopy: String { path + "/catalog-copy.db" }
    var lock: String { path + "/lock" }
    var authority: String { path + "/authority.pem" }
    var authorityKey: String { path + "/authority-key.pem" }
    var server: String { path + "/server.pem" }
    var serverKey: String { path + "/server-key.pem" }
    var receiptKey: String { path + "/receipt-key" }
    package var recoveryKey: String { path + "/recovery-key.txt" }
    var store: String { path + "/store" }
    /// Files with the credentials of stores.
    var credentials: String { path + "/credentials" }
    /// Objects on their way to stores on other machines; a crash leaves nothing in it.
    var spool: String { path + "/spool" }

    /// Makes the directory; one that holds anything is refused.
    func makeEmpty() throws(CoordinatorSetupError) {
        try requireEmpty()
        if FileManager.default.fileExists(atPath: path) {
            try keepPrivate()
        } else {
            try PrivateFile.makeDirectory(path)
        }
    }

    /// Refuses a directory that holds anything; it need not exist.
    func requireEmpty() throws(CoordinatorSetupError) {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else { return }
        guard isDirectory.boolValue else { throw .directoryNotEmpty(path: path) }
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw .fileFailed(path: path, reason: "\(error.localizedDescription)")
        }
        guard names.isEmpty else { throw .directoryNotEmpty(path: path) }
    }

    private func keepPrivate() throws(CoordinatorSetupError) {
        do {
            try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
        } catch {
            throw .fileFailed(path: path, reason: "\(error.localizedDescription)")
        }
    }
}
