import Foundation
import Glibc
import Synchronization

/// What happened in watched folders since the last word.
struct FolderChanges: Sendable {
    /// Names that came, went, or became another file or folder.
    var appeared: Set<FilePath> = []
    /// Files that were written to.
    var written: Set<FilePath> = []
    /// Folders that are not watched any more: they went, or are at another place now.
    var lost: Set<String> = []
    /// Something was lost: anything may have happened.
    var isIncomplete = false

    var isEmpty: Bool { appeared.isEmpty && written.isEmpty && lost.isEmpty && !isIncomplete }
}

/// Tells what happens in folders, by inotify(7): one descriptor and one thread, however many folders.
///
/// It only makes things quick. Events get lost (a full queue, no watch left to
/// give, network file systems), so whoever listens also looks from time to time.
final class FolderWatch: Sendable {
    private struct State {
        /// Several paths may lead to one folder, which then has one watch.
        var foldersOf: [Int32: Set<String>] = [:]
        var watchOf: [String: Int32] = [:]
        var isFull = false
    }

    private static let events =
        UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM) | UInt32(IN_MOVED_TO) | UInt32(IN_MODIFY)
        | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF)
    /// What happens meanwhile is told together, so that a busy folder costs no more than ten wakeups a second.
    private static let pauseMilliseconds: Int32 = 100
    private static let longPauseMilliseconds: Int32 = 1000
    private static let manyEvents = 1000

    private let descriptor: Int32
    private let stopReader: Int32
    private let stopWriter: Int32
    private let state = Mutex(State())

    /// - Returns: nil where the system has none left to give.
    init?() {
        let descriptor = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard descriptor >= 0 else { return nil }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, ends.allSatisfy({ fcntl($0, F_SETFD, FD_CLOEXEC) == 0 }) else {
            close(descriptor)
            return nil
        }
        (self.descriptor, stopReader, stopWriter) = (descriptor, ends[0], ends[1])
    }

    deinit {
        for descriptor in [descriptor, stopReader, stopWriter] { close(descriptor) }
    }

    /// Begins to watch a folder; one that was put into the place of another is watched instead of it.
    ///
    /// - Returns: false where it cannot be: it is none, or the system has no watch left to give.
    @discardableResult
    func add(_ folder: String) -> Bool {
        state.withLock { state in
            let watch = inotify_add_watch(descriptor, folder, Self.events | UInt32(IN_ONLYDIR))
            guard watch != state.watchOf[folder] else { return true }
            if watch < 0, errno == ENOSPC || errno == ENOMEM { state.isFull = true }
            drop(folder, &state)
            guard watch >= 0 else { return false }
            state.watchOf[folder] = watch
            state.foldersOf[watch, default: []].insert(folder)
            return true
        }
    }

    func remove(_ folder: String) { state.withLock { drop(folder, &$0) } }

    private func drop(_ folder: String, _ state: inout State) {
        guard let watch = state.watchOf.removeValue(forKey: folder) else { return }
        state.foldersOf[watch]?.remove(folder)
        guard state.foldersOf[watch]?.isEmpty == true else { return }
        state.foldersOf[watch] = nil
        // It is gone already where the folder is.
        _ = inotify_rm_watch(descriptor, watch)
    }

    func isWatched(_ folder: String) -> Bool { state.withLock { $0.watchOf[folder] != nil } }

    var folders: [String] { state.withLock { Array($0.watchOf.keys) } }

    /// True once after the system refused a watch for want of room.
    func takeIsFull() -> Bool {
        state.withLock { state in
            defer { state.isFull = false }
            return state.isFull
        }
    }

    // MARK: - The thread

    /// Tells of changes from a thread of its own until `stop`; call it once.
    func start(_ tell: @escaping @Sendable (FolderChanges) -> Void) {
        let thread = Thread { [self] in
            while wait() {
                let (changes, count) = takeChanges()
                if !changes.isEmpty { tell(changes) }
                guard !isStopped(within: count > Self.manyEvents ? Self.longPauseMilliseconds : Self.pauseMilliseconds)
                else { return }
            }
        }
        thread.name = "muster-folders"
        thread.stackSize = 256 << 10
        thread.start()
    }

    func stop() {
        var byte: UInt8 = 0
        // A full pipe holds a byte already.
        _ = write(stopWriter, &byte, 1)
    }

    /// - Returns: false after `stop`.
    private func wait() -> Bool {
        var waiting = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stopReader, events: Int16(POLLIN), revents: 0),
        ]
        repeat {
            let count = poll(&waiting, 2, -1)
            guard count >= 0 || errno == EINTR else { return false }
        } while waiting.allSatisfy { $0.revents == 0 }
        return waiting[1].revents == 0
    }

    private func isStopped(within milliseconds: Int32) -> Bool {
        var waiting = pollfd(fd: stopReader, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, milliseconds) > 0
    }

    /// All that has been told by now, and how many events that were.
    private func takeChanges() -> (FolderChanges, Int) {
        var (changes, total) = (FolderChanges(), 0)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        // At most the kernel's queue (fs.inotify.max_queued_events, 16,384 by default) some times over.
        for _ in 0..<256 {
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            total += buffer[..<count].withUnsafeBytes { note($0, in: &changes) }
        }
        return (changes, total)
    }

    private func note(_ bytes: UnsafeRawBufferPointer, in changes: inout FolderChanges) -> Int {
        // struct inotify_event: int wd; uint32_t mask, cookie, len; char name[len], ended and filled up by zeros.
        let headBytes = 16
        var (offset, count) = (0, 0)
        state.withLock { state in
            while offset + headBytes <= bytes.count {
                let watch = bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)
                let mask = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
                let length = Int(bytes.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self))
                let name = bytes[(offset + headBytes)..<min(offset + headBytes + length, bytes.count)]
                note(watch, mask, name: name.prefix { $0 != 0 }, &state, &changes)
                offset += headBytes + length
                count += 1
            }
        }
        return count
    }

    private func note(
        _ watch: Int32, _ mask: UInt32, name: Slice<UnsafeRawBufferPointer>, _ state: inout State,
        _ changes: inout FolderChanges
    ) {
        if mask & UInt32(IN_Q_OVERFLOW) != 0 { changes.isIncomplete = true }
        for folder in state.foldersOf[watch] ?? [] {
            if name.isEmpty {
                // The folder itself went, or the file system under it.
                changes.appeared.insert(FilePath(folder))
            } else if let name = String(validating: name, as: UTF8.self) {
                let path = FilePath(PatternSweep.join(folder, name))
                if mask & UInt32(IN_MODIFY) != 0 { changes.written.insert(path) } else { changes.appeared.insert(path) }
            }
        }
        if mask & UInt32(IN_IGNORED) != 0 {
            for folder in state.foldersOf.removeValue(forKey: watch) ?? [] {
                state.watchOf[folder] = nil
                changes.lost.insert(folder)
            }
        }
        // A folder that was moved is not the one of that path any more, and those below it went along.
        if mask & UInt32(IN_MOVE_SELF) != 0 {
            for folder in state.foldersOf[watch] ?? [] {
                for moved in state.watchOf.keys where moved == folder || moved.hasPrefix(folder + "/") {
                    drop(moved, &state)
                    changes.lost.insert(moved)
                }
            }
        }
    }
}
