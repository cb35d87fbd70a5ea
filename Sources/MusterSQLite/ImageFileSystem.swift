import CSQLite
import Glibc
import Synchronization

/// SQLite's view of images: a VFS whose files are page sources.
///
/// It has no `-wal`, no journal and no locks, and tells SQLite that files are
/// immutable, so that an image whose header says WAL opens without sidecars
/// (pager.c, sqlite3PagerOpen: SQLITE_IOCAP_IMMUTABLE). Images are private to
/// us or held still by a lock; a live source is never opened here.
enum ImageFileSystem {
    static let name = "muster-image"

    private struct State {
        var sources: [String: any PageSource] = [:]
        var nextNumber: UInt64 = 0
        var isRegistered = false
    }
    private static let state = Mutex(State())

    /// A name under which SQLite can open `source`, as long as the value lives.
    struct Name: ~Copyable {
        let text: String

        fileprivate init(text: String) { self.text = text }
        deinit { ImageFileSystem.forget(text) }
    }

    static func name(for source: any PageSource) throws(SQLiteError) -> Name {
        let (text, code) = state.withLock { state in
            let code = state.isRegistered ? SQLITE_OK : register()
            state.isRegistered = code == SQLITE_OK
            state.nextNumber += 1
            let text = "/image/\(state.nextNumber)"
            if code == SQLITE_OK { state.sources[text] = source }
            return (text, code)
        }
        guard code == SQLITE_OK else {
            throw SQLiteError(code: code, path: text, reason: "the image file system cannot be registered")
        }
        return Name(text: text)
    }

    private static func forget(_ name: String) {
        state.withLock { _ = $0.sources.removeValue(forKey: name) }
    }

    private static func register() -> Int32 {
        guard let system = unsafe sqlite3_vfs_find(nil) else { return SQLITE_NOTFOUND }
        // It lives as long as the process: SQLite keeps the pointer.
        let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        // Randomness, sleep and time are the system's.
        unsafe vfs.initialize(to: system.pointee)
        unsafe vfs.pointee.pNext = nil
        unsafe vfs.pointee.szOsFile = Int32(MemoryLayout<ImageFile>.size)
        unsafe vfs.pointee.zName = UnsafePointer(strdup(name))
        unsafe vfs.pointee.xOpen = { unsafe ImageFileSystem.open($1, $2, flags: $3, outFlags: $4) }
        unsafe vfs.pointee.xDelete = { _, _, _ in SQLITE_READONLY }
        unsafe vfs.pointee.xAccess = { _, _, _, answer in
            unsafe answer?.pointee = 0  // no journal, no -wal
            return SQLITE_OK
        }
        unsafe vfs.pointee.xFullPathname = { _, name, count, target in
            guard let name = unsafe name, let target = unsafe target, unsafe strlen(name) < Int(count) else {
                return SQLITE_CANTOPEN
            }
            unsafe strcpy(target, name)
            return SQLITE_OK
        }
        return unsafe sqlite3_vfs_register(vfs, 0)
    }

    /// Only images open: no journal, no WAL, no temporary file (`temp_store` is memory).
    private static func open(
        _ name: UnsafePointer<CChar>?, _ file: UnsafeMutablePointer<sqlite3_file>?, flags: Int32,
        outFlags: UnsafeMutablePointer<Int32>?
    ) -> Int32 {
        guard let file = unsafe file else { return SQLITE_CANTOPEN }
        let raw = UnsafeMutableRawPointer(file)
        // A file without methods is one that SQLite does not close.
        let image = unsafe raw.initializeMemory(as: ImageFile.self, repeating: ImageFile(), count: 1)
        guard let name = unsafe name, flags & SQLITE_OPEN_MAIN_DB != 0,
            let source = unsafe state.withLock({ [text = String(cString: name)] in $0.sources[text] })
        else { return SQLITE_CANTOPEN }
        unsafe image.pointee.opened = Unmanaged.passRetained(OpenImage(source))
        unsafe image.pointee.base.pMethods = UnsafePointer(imageMethods)
        unsafe outFlags?.pointee = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB
        return SQLITE_OK
    }
}

/// What SQLite allocates for one open image: its own part first, then ours (sqlite.org/vfs.html, 2.3).
@unsafe
private struct ImageFile {
    var base = unsafe sqlite3_file()
    var opened: Unmanaged<OpenImage>?

    static func image(_ file: UnsafeMutablePointer<sqlite3_file>?) -> OpenImage? {
        guard let file = unsafe file else { return nil }
        return unsafe UnsafeMutableRawPointer(file).assumingMemoryBound(to: ImageFile.self).pointee.opened?
            .takeUnretainedValue()
    }

    static func close(_ file: UnsafeMutablePointer<sqlite3_file>?) {
        guard let file = unsafe file else { return }
        let image = unsafe UnsafeMutableRawPointer(file).assumingMemoryBound(to: ImageFile.self)
        unsafe image.pointee.opened?.release()
        unsafe image.pointee.opened = nil
    }
}

private final class OpenImage {
    let source: any PageSource
    init(_ source: any PageSource) { self.source = source }

    func read(_ target: UnsafeMutableRawPointer?, count: Int, at offset: Int64) -> Int32 {
        guard let target = unsafe target, offset >= 0 else { return csqlite_ioerr_read }
        let available = Int(clamping: max(0, Int64(clamping: source.byteCount) - offset))
        let inside = min(count, available)
        let buffer = unsafe UnsafeMutableRawBufferPointer(start: target, count: inside)
        var span = unsafe buffer.mutableBytes
        do {
            if inside > 0 { try source.read(at: UInt64(offset), into: &span) }
        } catch { return csqlite_ioerr_read }
        guard inside < count else { return SQLITE_OK }
        unsafe memset(target + inside, 0, count - inside)
        return csqlite_ioerr_short_read
    }
}

/// Written once, before the first file opens, and only read afterwards: safe to share between threads.
nonisolated(unsafe) private let imageMethods: UnsafeMutablePointer<sqlite3_io_methods> = {
    let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
    unsafe methods.initialize(to: sqlite3_io_methods())
    unsafe methods.pointee.iVersion = 1
    unsafe methods.pointee.xClose = {
        unsafe ImageFile.close($0)
        return SQLITE_OK
    }
    unsafe methods.pointee.xRead = {
        unsafe ImageFile.image($0)?.read($1, count: Int($2), at: $3) ?? csqlite_ioerr_read
    }
    unsafe methods.pointee.xWrite = { _, _, _, _ in SQLITE_READONLY }
    unsafe methods.pointee.xTruncate = { _, _ in SQLITE_READONLY }
    unsafe methods.pointee.xSync = { _, _ in SQLITE_OK }
    unsafe methods.pointee.xFileSize = { file, size in
        guard let image = unsafe ImageFile.image(file) else { return csqlite_ioerr_read }
        unsafe size?.pointee = Int64(clamping: image.source.byteCount)
        return SQLITE_OK
    }
    unsafe methods.pointee.xLock = { _, _ in SQLITE_OK }
    unsafe methods.pointee.xUnlock = { _, _ in SQLITE_OK }
    unsafe methods.pointee.xCheckReservedLock = { _, answer in
        unsafe answer?.pointee = 0
        return SQLITE_OK
    }
    unsafe methods.pointee.xFileControl = { _, _, _ in SQLITE_NOTFOUND }
    unsafe methods.pointee.xSectorSize = { _ in 4096 }
    unsafe methods.pointee.xDeviceCharacteristics = { _ in SQLITE_IOCAP_IMMUTABLE }
    return unsafe methods
}()
