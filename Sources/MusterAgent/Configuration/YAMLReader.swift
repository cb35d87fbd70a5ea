import MusterModel
import Yams

/// Why a configuration file was not taken.
package enum ConfigurationError: ActionableError, Equatable {
    case unreadable(file: String, reason: String)
    case missing(file: String, key: String)
    case invalid(file: String, key: String, expected: String)
    case unknown(file: String, keys: [String])

    package var summary: String {
        switch self {
        case .unreadable(let file, let reason): "\(file) cannot be read: \(reason)"
        case .missing(let file, let key): "\(file) does not say '\(key)'"
        case .invalid(let file, let key, let expected): "\(file): '\(key)' wants \(expected)"
        case .unknown(let file, let keys): "\(file) has unknown keys: \(keys.joined(separator: ", "))"
        }
    }
    package var hint: String { "Correct the file, then start the command again." }
    package var isTransient: Bool { false }
}

/// Reads one mapping strictly: what nobody asked for is an error at the end.
struct YAMLReader {
    private let file: String
    private let prefix: String
    private let values: [String: Node]
    private var asked: Set<String> = []
    private let overrides: [String: String]

    init(yaml: String, overrides: [String: String], file: String) throws(ConfigurationError) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch {
            throw .unreadable(file: file, reason: "\(error)")
        }
        self.init(file: file, prefix: "", values: try Self.mapping(root, file: file), overrides: overrides)
    }

    private init(file: String, prefix: String, values: [String: Node], overrides: [String: String]) {
        (self.file, self.prefix, self.values, self.overrides) = (file, prefix, values, overrides)
    }

    private static func mapping(_ node: Node?, file: String) throws(ConfigurationError) -> [String: Node] {
        guard let mapping = node?.mapping else { throw .unreadable(file: file, reason: "it is not a list of keys") }
        var values: [String: Node] = [:]
        for (key, value) in mapping {
            guard let name = key.string else { throw .unreadable(file: file, reason: "a key is not a word") }
            guard values.updateValue(value, forKey: name) == nil else {
                throw .invalid(file: file, key: name, expected: "to be said once")
            }
        }
        return values
    }

    mutating func optionalString(_ key: String) throws(ConfigurationError) -> String? {
        asked.insert(key)
        if let override = overrides[key] { return override }
        guard let node = values[key] else { return nil }
        guard let scalar = node.scalar else { throw .invalid(file: file, key: prefix + key, expected: "one value") }
        return scalar.string
    }

    mutating func string(_ key: String) throws(ConfigurationError) -> String {
        guard let value = try optionalString(key), !value.isEmpty else {
            throw .missing(file: file, key: prefix + key)
        }
        return value
    }

    mutating func optionalInt(_ key: String, in range: ClosedRange<Int>) throws(ConfigurationError) -> Int? {
        guard let text = try optionalString(key) else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw .invalid(file: file, key: prefix + key, expected: "a whole number from \(range.lowerBound) up")
        }
        return value
    }

    mutating func optionalNumber(_ key: String) throws(ConfigurationError) -> Double? {
        guard let text = try optionalString(key) else { return nil }
        guard let value = Double(text), value.isFinite else {
            throw .invalid(file: file, key: prefix + key, expected: "a number, not '\(text)'")
        }
        return value
    }

    mutating func optionalBool(_ key: String) throws(ConfigurationError) -> Bool? {
        guard let text = try optionalString(key) else { return nil }
        guard let value = Bool(text) else { throw .invalid(file: file, key: prefix + key, expected: "true or false") }
        return value
    }

    mutating func optionalDuration(_ key: String) throws(ConfigurationError) -> Duration? {
        guard let text = try optionalString(key) else { return nil }
        guard let value = Duration(text: text) else {
            throw .invalid(file: file, key: prefix + key, expected: "a span such as 5m or 1h30m, not '\(text)'")
        }
        return value
    }

    mutating func duration(_ key: String) throws(ConfigurationError) -> Duration {
        guard let value = try optionalDuration(key) else { throw .missing(file: file, key: prefix + key) }
        return value
    }

    /// The entries of a list of mappings; none where the key is absent.
    mutating func list(_ key: String) throws(ConfigurationError) -> [YAMLReader] {
        asked.insert(key)
        guard let node = values[key] else { return [] }
        guard let sequence = node.sequence else { throw .invalid(file: file, key: prefix + key, expected: "a list") }
        var readers: [YAMLReader] = []
        for entry in sequence {
            let values = try Self.mapping(entry, file: file)
            readers.append(YAMLReader(file: file, prefix: "\(prefix)\(key).", values: values, overrides: [:]))
        }
        return readers
    }

    /// A list of single values; none where the key is absent.
    mutating func strings(_ key: String) throws(ConfigurationError) -> [String] {
        asked.insert(key)
        guard let node = values[key] else { return [] }
        guard let sequence = node.sequence else { throw .invalid(file: file, key: prefix + key, expected: "a list") }
        var strings: [String] = []
        for entry in sequence {
            guard let scalar = entry.scalar else {
                throw .invalid(file: file, key: prefix + key, expected: "a list of single values")
            }
            strings.append(scalar.string)
        }
        return strings
    }

    func refuseUnknownKeys() throws(ConfigurationError) {
        let unknown = Set(values.keys).subtracting(asked)
        guard unknown.isEmpty else { throw .unknown(file: file, keys: unknown.sorted().map { prefix + $0 }) }
    }
}
