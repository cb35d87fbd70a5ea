import Foundation

/// What the process itself costs, as the kernel tells.
package enum ProcessFigures {
    package static let resident = MetricName(
        "muster_process_resident_bytes", .gauge, "Memory of this process that is in use.")
    package static let descriptors = MetricName(
        "muster_process_descriptor_count", .gauge, "Files and sockets that this process has open.")
    package static let names = [resident, descriptors]

    /// A figure that cannot be had is left out.
    package static var families: [MetricFamily] {
        var families: [MetricFamily] = []
        // The second field of statm is the resident set in pages; without /proc there is no figure.
        let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ")
        if let fields, fields.count > 1, let pages = Double(fields[1]) {
            families.append(MetricFamily(resident, pages * Double(sysconf(Int32(_SC_PAGESIZE)))))
        }
        // As above.
        if let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            families.append(MetricFamily(descriptors, Double(open.count)))
        }
        return families
    }
}
