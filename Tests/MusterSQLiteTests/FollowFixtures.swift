import Foundation
import StressRig
import Testing

@testable import MusterSQLite

/// An image that a follower keeps up to date, as a backup does: the dirty pages of each pin go over the last image.
struct FollowedImage {
    var bytes: [UInt8] = []
    let pageSize: Int

    /// Reads a whole state anew, plainly, with `meanwhile` between its parts, and then what changed exactly.
    init(full follower: Follower, meanwhile: (Int) throws -> Void = { _ in }) throws {
        pageSize = follower.pageSize
        _ = try follower.beginRound()
        let count = follower.filePageCount
        var (page, buffer): (UInt64, [UInt8]) = (1, [])
        var turn = 0
        while page <= count {
            let step = min(5, count - page + 1)
            try follower.readFile(page, count: Int(step), into: &buffer)
            bytes += buffer
            page += step
            try meanwhile(turn)
            turn += 1
        }
        try update(follower)
    }

    /// - Returns: how many pages were read, and the cursor of the commit that `bytes` now are.
    @discardableResult
    mutating func update(_ follower: Follower) throws -> (dirty: Int, cursor: FollowCursor) {
        let pin = try follower.pin()
        try apply(pin)
        let reference = try pin.capture.referenceImage()
        try pin.capture.finish()
        #expect(reference == bytes)
        return (pin.dirty.count, pin.cursor)
    }

    private mutating func apply(_ pin: FollowedPin) throws {
        let size = Int(pin.capture.pageCount) * pageSize
        if bytes.count > size { bytes.removeLast(bytes.count - size) }
        bytes += [UInt8](repeating: 0, count: size - bytes.count)
        try pin.dirty.forEach { page in
            let start = Int(page - 1) * pageSize
            bytes.replaceSubrange(start..<start + pageSize, with: try pin.capture.readPages(UInt64(page), count: 1))
        }
    }
}

/// Waits for another process's doing to show; throws if it never does.
func eventually(_ what: String, _ holds: () throws -> Bool) throws {
    for _ in 0..<20_000 {
        if try holds() { return }
        usleep(500)
    }
    throw BrokenInvariant(reason: "it never came: \(what)")
}

extension FollowOptions {
    /// For refusals that shall not take long.
    static var hurried: FollowOptions {
        var options = FollowOptions()
        options.busyBudget = .milliseconds(100)
        return options
    }
}
