import Glibc
import MusterSQLite

enum Role: String {
    case initialise, writer, checkpointer, vacuumer, reader, shell, capture, follow

    func run(path: String, options: Options) throws {
        switch self {
        case .initialise: try Schedule.initialise(path: path, options: options)
        case .writer:
            var writer = try Writer(path: path, options: options)
            try writer.run()
        case .checkpointer:
            var checkpointer = Checkpointer(path: path, options: options)
            try checkpointer.run()
        case .vacuumer:
            var vacuumer = Vacuumer(path: path, options: options)
            try vacuumer.run()
        case .shell: try Shell.run(path: path)
        case .capture: CaptureOnce.run(path: path, options: options)
        case .reader:
            var reader = Reader(path: path, options: options)
            try reader.run()
        case .follow:
            var captures = FollowCaptures(path: path, options: options)
            try captures.run()
        }
    }
}

/// `NAME=VALUE` arguments.
struct Options {
    private var values: [String: String] = [:]

    init(_ arguments: some Sequence<String>) {
        for argument in arguments {
            guard let equals = argument.firstIndex(of: "=") else { continue }
            values[String(argument[..<equals])] = String(argument[argument.index(after: equals)...])
        }
    }

    func text(_ name: String, default fallback: String) -> String { values[name] ?? fallback }
    func number(_ name: String, default fallback: Int) -> Int { values[name].flatMap { Int($0) } ?? fallback }
}

/// A small seeded generator, so that a run can be told again by its seed.
struct Dice {
    private var state: UInt64

    init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15 | 1 }

    /// 0 up to, not including, `bound`.
    mutating func roll(_ bound: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(truncatingIfNeeded: (state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
    mutating func happens(oneIn chances: Int) -> Bool { roll(chances) == 0 }
}

/// Counters that a process shows to the test: eight bytes each, written in place.
struct Ledger {
    static let slotsPerProcess = 4
    private let descriptor: Int32
    private let first: Int

    init(path: String, number: Int) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        first = number * Self.slotsPerProcess
    }

    func store(_ value: Int64, in slot: Int) {
        var value = value
        guard pwrite(descriptor, &value, 8, off_t(8 * (first + slot))) == 8 else { exit(2) }
    }

    /// - Returns: what a process stored, or 0.
    static func load(path: String, number: Int, slot: Int) -> Int64 {
        var value: Int64 = 0
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        return pread(descriptor, &value, 8, off_t(8 * (number * slotsPerProcess + slot))) == 8 ? value : 0
    }
}

/// Held as long as the test that started this process lives.
struct Leash {
    private let parent = getppid()
    var isHeld: Bool { getppid() == parent }
}
