import Foundation
import MusterStore
import MusterTestSupport
import Synchronization

/// Where a store fails, and is no less there for it.
final class SickPart: Sendable {
    private let value = Mutex<ObjectName.Part?>(nil)

    var part: ObjectName.Part? {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }

    func check(_ part: ObjectName.Part?, in store: String) throws(StoreError) {
        guard let part, part == self.part else { return }
        throw .failed(store: store, object: "", operation: "write", code: ETIMEDOUT)
    }
}

extension ObjectName {
    fileprivate var part: Part? {
        switch StoredItem(self) {
        case .catalogPack: .pack
        case .catalogBackup: .manifest
        default: nil
        }
    }

    enum Part: Sendable { case free, pack, manifest }
}

struct SickPartStore: ForwardingStore {
    let store: any Store
    private let sickness: SickPart

    init(_ store: any Store, _ sickness: SickPart) { (self.store, self.sickness) = (store, sickness) }

    func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) {
        try sickness.check(name.part, in: self.name)
        try await store.put(name, bytes)
    }
    func freeBytes() async throws(StoreError) -> UInt64 {
        try sickness.check(.free, in: name)
        return try await store.freeBytes()
    }
}
