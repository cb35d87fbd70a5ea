import Yams

extension CoordinatorSettings {
    /// Reads `signed_uploads`: `on`, the default, lets nodes put packs straight into stores that were proven for it.
    static func signedUploads(_ node: Node) throws(CoordinatorSetupError) -> Bool {
        switch node.string {
        case "on": return true
        case "off": return false
        default: throw .badSettings(reason: "'signed_uploads' must be on or off")
        }
    }
}
