import Foundation

/// The directory of a coordinator that is being rebuilt, beside the one that it becomes.
struct UnfinishedDirectory {
    let directory: CoordinatorDirectory
    private let final: CoordinatorDirectory

    /// Begins anew: what a rebuild that was cut off left here is removed.
    init(for final: CoordinatorDirectory) throws {
        self.final = final
        directory = CoordinatorDirectory(path: final.path + ".rebuilding")
        if FileManager.default.fileExists(atPath: directory.path) {
            // Only what a rebuild made: it always holds a listing, or nothing yet.
            let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
            guard names.isEmpty || names.contains(Self.listingName) else {
                throw CoordinatorSetupError.directoryNotEmpty(path: directory.path)
            }
            try FileManager.default.removeItem(atPath: directory.path)
        }
        try PrivateFile.makeDirectory(directory.path)
        try PrivateFile.write([], to: listing)
    }

    private static let listingName = "rebuild.db"
    var listing: String { directory.path + "/" + Self.listingName }

    /// Makes it the coordinator's directory, in one step.
    func takeName() throws {
        try FileManager.default.removeItem(atPath: listing)
        try PrivateFile.syncDirectory(of: listing)
        // An empty directory gives way (rename(2)).
        try PrivateFile.succeed(rename(directory.path, final.path), final.path, "rename")
        try PrivateFile.syncDirectory(of: final.path)
    }
}
