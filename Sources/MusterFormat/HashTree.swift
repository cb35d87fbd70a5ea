package import MusterModel

/// The hash tree over the pages of a database; one for each lane.
///
/// page = SHA-256(page), extent = SHA-256(1 ‖ its page hashes), group =
/// SHA-256(2 ‖ its extent hashes), root = SHA-256(3 ‖ geometry ‖ group hashes).
package struct TreeHasher: ~Copyable {
    private var page = SHA256Hasher()
    private var node = SHA256Hasher()

    package init() {}

    /// - Parameter bytes: the whole pages of one extent, in order.
    package mutating func extentHash(of bytes: RawSpan, pageSize: Int) -> ExtentHash {
        precondition(pageSize > 0 && bytes.byteCount.isMultiple(of: pageSize), "an extent holds whole pages")
        node.update(byte: 1)
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe withUnsafeTemporaryAllocation(byteCount: SHA256Hasher.digestBytes, alignment: 8) { digest in
                for start in stride(from: 0, to: bytes.count, by: pageSize) {
                    unsafe page.update(UnsafeRawBufferPointer(rebasing: bytes[start..<start + pageSize]))
                    unsafe page.finish(into: digest)
                    unsafe node.update(UnsafeRawBufferPointer(digest))
                }
            }
        }
        return node.finish()
    }

    package mutating func pageHash(of bytes: RawSpan) -> PageHash {
        page.update(bytes)
        return page.finish()
    }

    /// The extent's hash from hashes of its pages that are known already.
    package mutating func extentHash(of pages: some Sequence<PageHash>) -> ExtentHash {
        node.update(byte: 1)
        for hash in pages { node.update(hash.bytes) }
        return node.finish()
    }

    /// - Parameter extents: 1 to 256 hashes, in order.
    package mutating func groupHash(of extents: some Collection<ExtentHash>) -> GroupHash {
        precondition((1...DatabaseGeometry.extentsPerGroup).contains(extents.count), "a group has 1 to 256 extents")
        node.update(byte: 2)
        for hash in extents { node.update(hash.bytes) }
        return node.finish()
    }

    /// - Parameter groups: the hashes of all groups of the geometry, in order.
    package mutating func contentRoot(
        of groups: some Collection<GroupHash>, in geometry: DatabaseGeometry
    ) -> ContentRoot {
        precondition(groups.count == geometry.groupCount, "the root is over all groups")
        node.update(byte: 3)
        node.update(littleEndianBytes(UInt32(geometry.pageSize)))
        node.update(littleEndianBytes(UInt32(geometry.pagesPerExtent)))
        node.update(littleEndianBytes(geometry.pageCount))
        for hash in groups { node.update(hash.bytes) }
        return node.finish()
    }
}

/// Collects extent hashes in order and folds them into groups and the root.
package struct ContentTree: ~Copyable {
    package let geometry: DatabaseGeometry
    package private(set) var groups: [GroupHash] = []
    private var pending: [ExtentHash] = []
    private var hasher = TreeHasher()

    package init(geometry: DatabaseGeometry) { self.geometry = geometry }

    /// Adds the next extent.
    ///
    /// - Returns: the hash of its group where it was the group's last one.
    @discardableResult
    package mutating func append(_ extent: ExtentHash) -> GroupHash? {
        precondition(groups.count < geometry.groupCount, "more extents than the geometry has")
        pending.append(extent)
        guard pending.count == geometry.extents(ofGroup: groups.count).count else { return nil }
        let group = hasher.groupHash(of: pending)
        groups.append(group)
        pending.removeAll(keepingCapacity: true)
        return group
    }

    /// The root, once all extents were added.
    package mutating func contentRoot() -> ContentRoot {
        precondition(pending.isEmpty, "an extent is missing")
        return hasher.contentRoot(of: groups, in: geometry)
    }
}
