import MusterModel
import MusterStore
import MusterTestSupport
import Synchronization

/// What a test does at certain calls of a store.
final class StoreHooks: Sendable {
    typealias Hook = @Sendable (ObjectName) async throws(StoreError) -> Void

    /// - Returns: true where the object is to seem not to be there.
    typealias Look = @Sendable (ObjectName) async throws(StoreError) -> Bool

    private struct State {
        var delete: Hook?
        var commit: Hook?
        var look: Look?
        var listings: [String: Int] = [:]
    }

    private let state = Mutex(State())

    func onDelete(_ hook: Hook?) { state.withLock { $0.delete = hook } }
    func onCommit(_ hook: Hook?) { state.withLock { $0.commit = hook } }
    /// Asked where somebody asks for an object's size.
    func onLook(_ look: Look?) { state.withLock { $0.look = look } }

    /// How often each prefix was listed since this was last asked.
    func takeListings() -> [String: Int] {
        state.withLock { state in
            defer { state.listings = [:] }
            return state.listings
        }
    }

    fileprivate func beforeDelete(_ name: ObjectName) async throws(StoreError) {
        if let hook = state.withLock({ $0.delete }) { try await hook(name) }
    }

    fileprivate func beforeCommit(_ name: ObjectName) async throws(StoreError) {
        if let hook = state.withLock({ $0.commit }) { try await hook(name) }
    }

    fileprivate func isHidden(_ name: ObjectName) async throws(StoreError) -> Bool {
        guard let look = state.withLock({ $0.look }) else { return false }
        return try await look(name)
    }

    fileprivate func count(_ prefix: ObjectPrefix) {
        state.withLock { $0.listings[prefix.description, default: 0] += 1 }
    }
}

struct HookedStore: ForwardingStore {
    let store: any Store
    let hooks: StoreHooks

    init(_ store: any Store, _ hooks: StoreHooks) { (self.store, self.hooks) = (store, hooks) }

    func beginPut() async throws(StoreError) -> any ObjectWriter {
        HookedWriter(writer: try await store.beginPut(), hooks: hooks)
    }
    func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter {
        HookedWriter(writer: try await store.prepare(bytes), hooks: hooks)
    }
    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        try await hooks.isHidden(name) ? nil : try await store.byteCount(of: name)
    }
    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        hooks.count(prefix)
        return try await store.list(prefix)
    }
    func delete(_ name: ObjectName) async throws(StoreError) {
        try await hooks.beforeDelete(name)
        try await store.delete(name)
    }
}

private final class HookedWriter: ObjectWriter {
    private let writer: any ObjectWriter
    private let hooks: StoreHooks

    init(writer: any ObjectWriter, hooks: StoreHooks) { (self.writer, self.hooks) = (writer, hooks) }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) { try await writer.write(bytes) }
    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] { try await writer.readBack(range) }
    func commit(as name: ObjectName) async throws(StoreError) {
        try await hooks.beforeCommit(name)
        try await writer.commit(as: name)
    }
    func abort() async { await writer.abort() }
}
