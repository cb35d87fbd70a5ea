/// Labels that a snapshot must all have, as `keep-tag` takes them: `env=prod,release`.
///
/// `key=value` wants that value, `key` alone wants any value of the key. The empty filter matches only snapshots that
/// have no label at all.
package struct LabelFilter: Hashable, Sendable, CustomStringConvertible {
    private struct Wanted: Hashable {
        let key: String
        let value: String?
    }

    private let wanted: [Wanted]

    package init(parsing text: String) throws(RetentionError) {
        var wanted: [Wanted] = []
        for part in text.isEmpty ? [] : text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let key = pair.first, !key.isEmpty else { throw .labelWithoutKey(text) }
            wanted.append(Wanted(key: key, value: pair.count == 2 ? pair[1] : nil))
        }
        self.wanted = wanted
    }

    package func matches(_ labels: [String: String]) -> Bool {
        guard !wanted.isEmpty else { return labels.isEmpty }
        return wanted.allSatisfy { part in
            guard let value = labels[part.key] else { return false }
            return part.value == nil || part.value == value
        }
    }

    package var description: String {
        wanted.map { part in part.value.map { "\(part.key)=\($0)" } ?? part.key }.joined(separator: ",")
    }
}
