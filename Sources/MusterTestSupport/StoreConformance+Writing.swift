import MusterModel
import MusterStore

extension StoreConformance {
    static let writing: [StoreConformance] = [
        StoreConformance("what was put is read back") { store, random in
            for byteCount in [0, 1, 4095, 65_536, 3 << 20] {
                let (name, bytes) = (try random.objectName(), random.bytes(byteCount))
                try await store.put(name, bytes)
                try require(try await store.read(name, maximumBytes: byteCount) == bytes, "\(byteCount) bytes differ")
                try require(
                    try await store.read(name, maximumBytes: byteCount, fresh: true) == bytes,
                    "\(byteCount) bytes differ when read from the medium")
                try require(try await store.byteCount(of: name) == UInt64(byteCount), "the size differs")
            }
        },
        StoreConformance("an object is written once") { store, random in
            let (name, bytes) = (try random.objectName(), random.bytes(100))
            try await store.put(name, bytes)
            try await requireError("a second put", \.isAlreadyExists) { () throws(StoreError) in
                try await store.put(name, random.bytes(50))
            }
            try require(try await store.read(name, maximumBytes: 100) == bytes, "the first object was changed")
        },
        StoreConformance("of 32 writers of one name exactly one wins") { store, random in
            let name = try random.objectName()
            let winners = try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
                for _ in 0..<32 {
                    let bytes = random.bytes(10_000)
                    group.addTask { try await putUnlessThere(bytes, name, in: store) }
                }
                return try await group.reduce(into: [[UInt8]]()) { winners, bytes in
                    if let bytes { winners.append(bytes) }
                }
            }
            try require(winners.count == 1, "\(winners.count) writers won")
            try require(try await store.read(name, maximumBytes: 10_000) == winners.first, "a loser's bytes are there")
        },
        StoreConformance("an object is not there before its commit, nor after an abort") { store, random in
            let writer = try await store.beginPut()
            try await writer.write(random.bytes(1000))
            try require(try await store.allNames().isEmpty, "an unfinished object is listed")
            await writer.abort()
            await writer.abort()
            try require(try await store.allNames().isEmpty, "an aborted object is listed")
            let name = try random.objectName()
            try await requireError("a commit after an abort", \.isWriterClosed) { () throws(StoreError) in
                try await writer.commit(as: name)
            }
            try require(try await store.byteCount(of: name) == nil, "an aborted object has a size")
        },
        StoreConformance("a prepared object is not there before its commit, nor after an abort") { store, random in
            let (name, bytes) = (try random.objectName(), random.bytes(5000))
            let writer = try await store.prepare(bytes)
            try require(try await store.allNames().isEmpty, "an unnamed object is listed")
            try require(try await writer.readBack(0..<5000) == bytes, "its bytes are not there")
            try await writer.commit(as: name)
            try require(try await store.read(name, maximumBytes: 5000) == bytes, "the bytes differ")
            let (longer, second) = (try await store.prepare(bytes), try random.objectName())
            try await longer.write([7])
            try await longer.commit(as: second)
            try require(try await store.read(second, maximumBytes: 5001) == bytes + [7], "what came later is not there")
            let other = try await store.prepare(bytes)
            try await requireError("a commit under a name that is taken", \.isAlreadyExists) { () throws(StoreError) in
                try await other.commit(as: name)
            }
            await (try await store.prepare(bytes)).abort()
            try require(try await store.allNames() == [name, second], "an aborted object is listed")
        },
        StoreConformance("a committed writer takes no more") { store, random in
            let (writer, name) = (try await store.beginPut(), try random.objectName())
            try await writer.commit(as: name)
            try await requireError("a write", \.isWriterClosed) { () throws(StoreError) in
                try await writer.write([1])
            }
            let second = try random.objectName()
            try await requireError("a second commit", \.isWriterClosed) { () throws(StoreError) in
                try await writer.commit(as: second)
            }
            try require(try await store.allNames() == [name], "there is more or less than the first object")
        },
        StoreConformance("a writer reads back what it wrote") { store, random in
            let (writer, bytes) = (try await store.beginPut(), random.bytes(300_000))
            // The last piece is more than a store writes at once.
            for (start, end) in [(0, 7), (7, 20_000), (20_000, 300_000)] {
                try await writer.write(bytes[start..<end])
            }
            for range in [0..<300_000, 69_999..<140_001, 5..<5] {
                let got = try await writer.readBack(UInt64(range.lowerBound)..<UInt64(range.upperBound))
                try require(got == Array(bytes[range]), "\(range) differs")
            }
            try await requireError("a range past the end", \.isTooShort) { () throws(StoreError) in
                _ = try await writer.readBack(0..<300_001)
            }
            let name = try random.objectName()
            try await writer.commit(as: name)
            try require(try await store.read(name, maximumBytes: 300_000) == bytes, "the object differs")
        },
    ]

    /// - Returns: the bytes, if this writer won; nil if the name was taken.
    private static func putUnlessThere(
        _ bytes: [UInt8], _ name: ObjectName, in store: any Store
    ) async throws(StoreError) -> [UInt8]? {
        do {
            try await store.put(name, bytes)
            return bytes
        } catch {
            guard error.isAlreadyExists else { throw error }
            return nil
        }
    }
}
