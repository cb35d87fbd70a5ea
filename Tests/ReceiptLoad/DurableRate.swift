import Foundation

/// What the machine itself can do: one writer that makes each small append durable before the next.
struct DurableRate: CustomStringConvertible {
    private static let appends = 2000
    private static let bytes = [UInt8](repeating: 0x6d, count: 4096)

    let latencies: Latencies

    static func measure(in folder: String) throws -> DurableRate {
        let path = folder + "/durable-rate"
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        defer {
            close(file)
            unlink(path)
        }
        var latencies = Latencies()
        for _ in 0..<appends {
            let began = ContinuousClock.now
            guard write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0 else {
                throw POSIXError(.init(rawValue: errno) ?? .EIO)
            }
            latencies.add(ContinuousClock.now - began)
        }
        return DurableRate(latencies: latencies)
    }

    var description: String { "durable appends of 4 KiB: \(latencies.ratePerLane)/s, \(latencies)" }
}

struct Latencies: CustomStringConvertible {
    private(set) var milliseconds: [Double] = []

    mutating func add(_ duration: Duration) {
        milliseconds.append(
            Double(duration.components.seconds) * 1e3 + Double(duration.components.attoseconds) / 1e15)
    }

    mutating func add(_ other: Latencies) { milliseconds += other.milliseconds }

    /// Of one lane in which each follows the one before.
    var ratePerLane: Int { Int(Double(milliseconds.count) / max(1e-9, milliseconds.reduce(0, +)) * 1e3) }

    var description: String {
        let sorted = milliseconds.sorted()
        func at(_ share: Double) -> String {
            sorted.isEmpty ? "-" : String(format: "%.2f", sorted[Int(Double(sorted.count - 1) * share)])
        }
        return "p50 \(at(0.5)) ms, p99 \(at(0.99)) ms, longest \(at(1)) ms"
    }
}
