import MusterModel

/// Why a coordinator was not made or did not start.
package enum CoordinatorSetupError: ActionableError, Equatable {
    case directoryNotEmpty(path: String)
    case notACoordinator(path: String)
    case alreadyRunning(path: String)
    case fileFailed(path: String, reason: String)
    case badSettings(reason: String)
    case badAddress(text: String)
    case badStore(url: String)
    case noCredentials(url: String)
    case noStore
    case weakSecret(path: String)
    case adminExists(name: String)
    case storeGivenTwice(url: String)

    package var summary: String {
        switch self {
        case .directoryNotEmpty(let path): "directory '\(path)' is not empty"
        case .notACoordinator(let path): "directory '\(path)' holds no coordinator"
        case .alreadyRunning(let path): "another process runs the coordinator of '\(path)'"
        case .fileFailed(let path, let reason): "file '\(path)' failed: \(reason)"
        case .badSettings(let reason): "coordinator.yaml is wrong: \(reason)"
        case .badAddress(let text): "'\(text)' is no address to listen on"
        case .badStore(let url): "'\(url)' is no place for a store"
        case .noCredentials(let url): "the store \(url) needs credentials"
        case .noStore: "the catalog names no store"
        case .weakSecret(let path): "the first line of '\(path)' is no secret: it has fewer than 16 bytes"
        case .storeGivenTwice(let url): "'\(url)' is a store that was given before it, under another address"
        case .adminExists(let name): "'\(name)' has a certificate that is good"
        }
    }

    package var hint: String {
        switch self {
        case .directoryNotEmpty: "Choose an empty directory, or one that does not exist yet."
        case .notACoordinator: "Run 'muster coordinator init --dir DIR' first."
        case .alreadyRunning: "Stop the other process first; one directory has one coordinator."
        case .fileFailed: "Check that the disk is sound and that this user owns the coordinator's directory."
        case .badSettings: "Correct the file; keys: listen, admin_listen, dashboard_listen, advertise, names, limits."
        case .badAddress: "Write HOST:PORT, such as 127.0.0.1:7420 or [::1]:7420."
        case .badStore(let url) where url.hasPrefix("node:"):
            "A store on a node is reached once there is a coordinator: on that machine, give the folder that it serves."
        case .badStore:
            "Give a folder's absolute path, a file:// URL, or s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION."
        case .noCredentials: "Give --credentials FILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        case .weakSecret: "Write a long one with 'openssl rand -hex 32', and give it to the receiver too."
        case .storeGivenTwice: "Give each place once: two copies on one disk are lost with it."
        case .adminExists: "Use that person's context, or choose another name with --name."
        case .noStore: "Restore the catalog from its backup, or make a new coordinator."
        }
    }

    package var isTransient: Bool { false }
}
