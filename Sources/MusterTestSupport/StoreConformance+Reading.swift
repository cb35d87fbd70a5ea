import MusterModel
import MusterStore

extension StoreConformance {
    static let reading: [StoreConformance] = [
        StoreConformance("a range is read exactly or not at all") { store, random in
            let (name, bytes) = (try random.objectName(), random.bytes(100_000))
            try await store.put(name, bytes)
            for range in [0..<100_000, 0..<1, 99_999..<100_000, 4096..<70_001, 7..<7] {
                let wanted = UInt64(range.lowerBound)..<UInt64(range.upperBound)
                for fresh in [false, true] {
                    let got = try await store.read(name, range: wanted, fresh: fresh)
                    try require(got == Array(bytes[range]), "\(range) differs")
                }
            }
            for range: Range<UInt64> in [0..<100_001, 99_999..<100_002, 200_000..<200_001] {
                try await requireError("\(range)", \.isTooShort) { () throws(StoreError) in
                    _ = try await store.read(name, range: range)
                }
            }
        },
        StoreConformance("a larger object than expected is refused") { store, random in
            let name = try random.objectName()
            try await store.put(name, random.bytes(101))
            try await requireError("101 bytes where 100 are allowed", \.isTooLarge) { () throws(StoreError) in
                _ = try await store.read(name, maximumBytes: 100)
            }
        },
        StoreConformance("what is not there is not found") { store, random in
            let name = try random.objectName()
            try require(try await store.byteCount(of: name) == nil, "it has a size")
            try await requireError("a read", \.isNotFound) { () throws(StoreError) in
                _ = try await store.read(name, maximumBytes: 1)
            }
            try await requireError("a read of a range", \.isNotFound) { () throws(StoreError) in
                _ = try await store.read(name, range: 0..<1)
            }
            try await requireError("a delete", \.isNotFound) { () throws(StoreError) in try await store.delete(name) }
        },
        StoreConformance("a delete takes the exact name and nothing else") { store, random in
            let pack = try random.packID()
            let names = (0..<3).map { _ in ObjectName.pack(pack, Generation(from: random)) }
            for name in names { try await store.put(name, random.bytes(10)) }
            try await store.delete(names[1])
            try require(try await store.allNames() == [names[0], names[2]], "other names are there than should be")
            try await requireError("a second delete", \.isNotFound) { () throws(StoreError) in
                try await store.delete(names[1])
            }
            try await store.put(names[1], [1])
            try require(try await store.read(names[1], maximumBytes: 1) == [1], "the name cannot be taken again")
        },
        StoreConformance("a folder's name is no object") { store, random in
            try await store.put(random.objectName(), [1])
            guard let folder = ObjectName("packs") else { throw ConformanceFailure(description: "'packs' is no name") }
            try require(try await store.byteCount(of: folder) == nil, "a folder has a size")
            try await requireError("a read of a folder", \.isNotFound) { () throws(StoreError) in
                _ = try await store.read(folder, maximumBytes: 1 << 20)
            }
        },
        StoreConformance("it has room") { store, random in
            try require(try await store.freeBytes() > 0, "it says that it is full")
        },
    ]

    static let listing: [StoreConformance] = [
        StoreConformance("a fresh store lists nothing") { store, random in
            try require(try await store.allNames().isEmpty, "it lists something")
            try require(try await store.objects(.packs, maximumCount: 1).isEmpty, "it lists packs")
        },
        StoreConformance("a listing holds every object once, with its size") { store, random in
            var expected: [ObjectName: UInt64] = [:]
            for number in 0..<2500 {
                let name = try random.objectName()
                try await store.put(name, [UInt8](repeating: 1, count: number % 7))
                expected[name] = UInt64(number % 7)
            }
            let objects = try await store.objects(.packs, maximumCount: 2500)
            try require(objects.count == 2500, "\(objects.count) of 2500 are listed")
            try require(objects.allSatisfy { expected[$0.name] == $0.byteCount }, "a size or a name is wrong")
            try await requireError("more than are expected", \.isTooLarge) { () throws(StoreError) in
                _ = try await store.objects(.all, maximumCount: 2000)
            }
        },
        StoreConformance("a prefix lists what begins with it") { store, random in
            let pack = try random.packID()
            let (database, other) = (DatabaseID(from: random), DatabaseID(from: random))
            let (lineage, snapshot) = (LineageID(from: random), SnapshotID(from: random))
            func place(_ database: DatabaseID, _ sequence: UInt64) -> SnapshotPlace {
                SnapshotPlace(database: database, lineage: lineage, sequence: sequence, snapshot: snapshot)
            }
            let generations = (0..<2).map { _ in Generation(from: random) }
            let copies = generations.map { ObjectName.pack(pack, $0) }
            let mine = (0..<3).map { ObjectName.manifest(place(database, $0), generations[0]) }
            // In the folder of `copies`, and only almost with their prefix.
            guard let neighbour = ObjectName("packs/\(pack.description.prefix(2))/neighbour") else {
                throw ConformanceFailure(description: "the neighbour has no name")
            }
            let others = [
                ObjectName.manifest(place(other, 0), generations[0]), .receipt(place(database, 0), generations[0]),
                neighbour,
            ]
            for name in copies + mine + others { try await store.put(name, [1]) }
            let expected: [(ObjectPrefix, Set<ObjectName>)] = [
                (.copies(of: pack), Set(copies)), (.manifests(of: database), Set(mine)),
                (.manifests, Set(mine + others.prefix(1))), (.receipts, [others[1]]), (.nodes, []),
                (.packs, Set(copies + others.suffix(1))),
            ]
            for (prefix, names) in expected {
                let listed = try await store.objects(prefix, maximumCount: 100).map(\.name)
                try require(listed.count == names.count && Set(listed) == names, "'\(prefix)' lists \(listed)")
            }
        },
    ]
}
