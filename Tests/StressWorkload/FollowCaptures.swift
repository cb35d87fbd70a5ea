import Glibc

// The faults that the stress run must notice are reachable from tests only.
#if DEBUG
    @testable import MusterSQLite
#else
    import MusterSQLite
#endif

/// Follows the database and writes image after image into a folder, each made from the one before, until it is
/// killed; then it goes on from what it finds there.
///
/// `capture-N` is an image and `capture-N.meta` says, once it is there, that the image is whole, how it was made, and
/// from which commit the next one goes on.
struct FollowCaptures {
    private struct Last {
        var number: Int
        var image: [UInt8]
        var cursor: FollowCursor
    }

    private enum Kind: String { case full, scan, incremental }

    private let path: String
    private let folder: String
    private let ledgerPath: String
    private let options: FollowOptions
    private let comparesOneIn: Int
    private let isAlwaysFull: Bool
    private let stays: Bool
    private let leash = Leash()
    private let start = ContinuousClock().now
    private var dice: Dice
    private var last: Last?

    init(path: String, options: Options) {
        self.path = path
        folder = options.text("folder", default: ".")
        ledgerPath = options.text("ledger", default: path + ".ledger")
        comparesOneIn = options.number("compare", default: 2)
        isAlwaysFull = options.text("kind", default: "any") == "full"
        stays = options.number("stays", default: 0) > 0
        dice = Dice(seed: options.number("seed", default: 1) &* 31 &+ Int(getpid()))
        var followOptions = FollowOptions()
        #if DEBUG
            followOptions.faults = FollowFaults(rawValue: options.number("faults", default: 0))
        #endif
        followOptions.busyBudget = .seconds(30)
        self.options = followOptions
    }

    mutating func run() throws {
        last = try found()
        while leash.isHeld { try session() }
    }

    // MARK: One stay at the database

    private mutating func session() throws {
        let follower: Follower
        do {
            follower = try Follower.attach(
                path: path, after: last?.cursor, options: options, elapsed: { [start] in ContinuousClock().now - start }
            )
        } catch {
            note("refused \(error.summary)")
            usleep(20_000)
            return
        }
        note(follower.isContinuous ? "continuous" : "anew")
        var mayTrustLast = follower.isContinuous
        do {
            let most = 5 + dice.roll(60)
            var count = 0
            while stays || count < most, leash.isHeld {
                count += 1
                usleep(UInt32(dice.roll(40_000)))
                try capture(follower, mayTrustLast: mayTrustLast)
                mayTrustLast = true
            }
        } catch {
            note(follower.status.isBroken ? "broken \(error)" : "failed \(error)")
        }
        let cursor = follower.detach(leavingAsLast: dice.happens(oneIn: 2))
        if let cursor, mayTrustLast, let number = last?.number {
            last?.cursor = cursor
            try store(Array(hex(cursor.bytes).utf8), as: "capture-\(number).cursor")
        }
        if dice.happens(oneIn: 2) { usleep(UInt32(dice.roll(200_000))) }
    }

    private mutating func capture(_ follower: Follower, mayTrustLast: Bool) throws {
        while let number = last?.number, exists("capture-\(number - 20)"), leash.isHeld { usleep(1000) }
        let kind = chooseKind(mayTrustLast)
        let committed = newestCommitted()
        if dice.happens(oneIn: 20) { try failASnapshot(follower) }
        var image = kind == .full ? [] : last?.image ?? []
        if kind != .incremental { try readPlainly(follower, into: &image, comparing: kind == .scan) }
        let pin = try follower.pin()
        try overlay(pin, onto: &image)
        let reference = dice.happens(oneIn: comparesOneIn) ? try pin.capture.referenceImage() : nil
        try pin.capture.finish()
        let number = (last?.number ?? 0) + 1
        try store(image, as: "capture-\(number)")
        let meta = [
            "kind=\(kind.rawValue)", "committed=\(committed)", "dirty=\(pin.dirty.count)",
            "equal=\(reference.map { $0 == image ? "yes" : "no" } ?? "unknown")", "cursor=\(hex(pin.cursor.bytes))",
        ]
        try store(Array(meta.joined(separator: "\n").utf8), as: "capture-\(number).meta")
        last = Last(number: number, image: image, cursor: pin.cursor)
    }

    private mutating func chooseKind(_ mayTrustLast: Bool) -> Kind {
        guard last != nil, !isAlwaysFull else { return .full }
        let roll = dice.roll(30)
        if !mayTrustLast { return roll < 10 ? .full : .scan }
        return roll == 0 ? .full : roll == 1 ? .scan : .incremental
    }

    /// A round and a pin whose result never gets anywhere.
    private mutating func failASnapshot(_ follower: Follower) throws {
        if dice.happens(oneIn: 2) { follower.giveBack(try follower.beginRound()) }
        let pin = try follower.pin()
        pin.capture.abandon()
        follower.giveBack(pin.dirty)
    }

    /// Reads the file while others write it; a scan keeps what looks the same.
    private mutating func readPlainly(
        _ follower: Follower, into image: inout [UInt8], comparing: Bool
    ) throws {
        _ = try follower.beginRound()
        let (size, count) = (follower.pageSize, try follower.filePageCount)
        let bytes = Int(count) * size
        if image.count > bytes { image.removeLast(image.count - bytes) }
        image += [UInt8](repeating: 0, count: bytes - image.count)
        var (page, buffer): (UInt64, [UInt8]) = (1, [])
        while page <= count {
            let step = min(UInt64(1 + dice.roll(max(1, 262_144 / size))), count - page + 1)
            try follower.readFile(page, count: Int(step), into: &buffer)
            let range = Int(page - 1) * size..<Int(page - 1 + step) * size
            if !comparing || !image[range].elementsEqual(buffer) { image.replaceSubrange(range, with: buffer) }
            page += step
            if dice.happens(oneIn: 4) { usleep(UInt32(dice.roll(3000))) }
        }
    }

    /// Reads the changed pages exactly, sometimes as whole extents.
    private mutating func overlay(_ pin: FollowedPin, onto image: inout [UInt8]) throws {
        let (size, count) = (pin.capture.pageSize, pin.capture.pageCount)
        let bytes = Int(count) * size
        if image.count > bytes { image.removeLast(image.count - bytes) }
        image += [UInt8](repeating: 0, count: bytes - image.count)
        let pagesPerExtent = [1, 2, 16][dice.roll(3)]
        var buffer: [UInt8] = []
        for extent in pin.dirty.extents(pagesPerExtent: pagesPerExtent) {
            let first = UInt64(extent * pagesPerExtent + 1)
            let step = min(UInt64(pagesPerExtent), count - first + 1)
            try pin.capture.readPages(first, count: Int(step), into: &buffer)
            image.replaceSubrange(Int(first - 1) * size..<Int(first - 1 + step) * size, with: buffer)
        }
    }

    // MARK: What is kept

    /// The newest capture that was finished.
    private func found() throws -> Last? {
        var number = 0
        guard let listing = opendir(folder) else { return nil }
        defer { closedir(listing) }
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name.hasPrefix("capture-"), name.hasSuffix(".meta") else { continue }
            number = max(number, Int(name.dropFirst(8).dropLast(5)) ?? 0)
        }
        guard number > 0 else { return nil }
        let image = try contents("capture-\(number)")
        let meta = String(decoding: try contents("capture-\(number).meta"), as: UTF8.self)
        var text = meta.split(separator: "\n").first { $0.hasPrefix("cursor=") }?.dropFirst(7) ?? ""
        if exists("capture-\(number).cursor") {
            text = Substring(String(decoding: try contents("capture-\(number).cursor"), as: UTF8.self))
        }
        guard let cursor = FollowCursor(bytes: bytes(hex: text)) else { throw Failure(reason: "no cursor: \(text)") }
        return Last(number: number, image: image, cursor: cursor)
    }

    private struct Failure: Error { let reason: String }

    private func exists(_ name: String) -> Bool { access(folder + "/" + name, F_OK) == 0 }

    private func contents(_ name: String) throws -> [UInt8] {
        let descriptor = open(folder + "/" + name, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(reason: "no \(name)") }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            count = max(0, pread(descriptor, buffer.baseAddress, size, 0))
        }
        guard bytes.count == size else { throw Failure(reason: "\(name) cannot be read") }
        return bytes
    }

    /// Whole or not at all, for a reader at any moment.
    private func store(_ bytes: [UInt8], as name: String) throws {
        let temporary = folder + "/" + name + ".tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Failure(reason: "\(name) cannot be made") }
        let written = write(descriptor, bytes, bytes.count)
        guard close(descriptor) == 0, written == bytes.count, rename(temporary, folder + "/" + name) == 0 else {
            throw Failure(reason: "\(name) cannot be written")
        }
    }

    /// One line in the folder's log.
    private func note(_ text: String) {
        let line = Array("\(getpid()) \(text)\n".utf8)
        let descriptor = open(folder + "/follow.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0, write(descriptor, line, line.count) == line.count, close(descriptor) == 0 else {
            complain("follow: \(text)")
            return
        }
    }

    /// The highest sequence that some writer knows to be committed.
    private func newestCommitted() -> Int64 {
        (1...4).map { Ledger.load(path: ledgerPath, number: $0, slot: 0) }.max() ?? 0
    }
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

func bytes(hex text: Substring) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue).map(UInt8.init)
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
