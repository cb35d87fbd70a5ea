import MusterModel

/// The text form that `coordinator init` writes and `--recovery-key FILE` reads.
extension RecoveryKey {
    private static let label = "MUSTER-RECOVERY-KEY-1 "
    private static let maximumFileBytes = 4096

    /// - Parameter comments: lines for the person who finds the file.
    package func fileText(comments: [String]) -> String {
        (comments.map { "# " + $0 } + [Self.label + Hex.encode(privateBytes), ""]).joined(separator: "\n")
    }

    /// Reads a recovery key file: one key line, and besides it only empty lines and lines that begin with `#`.
    package init(fileText: String) throws(FormatError) {
        let object = "recovery key file"
        guard fileText.utf8.count <= Self.maximumFileBytes else {
            throw FormatError(
                object,
                .tooLarge(what: "bytes", count: UInt64(fileText.utf8.count), limit: UInt64(Self.maximumFileBytes)))
        }
        let lines = fileText.split(separator: "\n", omittingEmptySubsequences: true).filter { !$0.hasPrefix("#") }
        guard lines.count == 1, let line = lines.first, line.hasPrefix(Self.label) else {
            throw .malformed(object, "it must hold exactly one line '\(Self.label)<64 hex digits>'")
        }
        guard let bytes = Hex.decode(line.dropFirst(Self.label.count)), let key = Self(privateBytes: bytes) else {
            throw .malformed(object, "the key is not 64 lowercase hex digits")
        }
        self = key
    }
}
