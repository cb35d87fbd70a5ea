import Glibc

/// Reads the names in one folder, a few at a time, however many there are. Used by one thread at a time.
@safe
final class FolderReader {
    private let stream: OpaquePointer

    /// - Parameter name: "." for `folder` itself.
    init(_ name: String, in folder: borrowing Descriptor) throws(SystemFailure) {
        let number = try Descriptor(name, in: folder, flags: O_RDONLY | O_DIRECTORY).release()
        guard let stream = unsafe fdopendir(number) else {
            let failure = SystemFailure("list folder")
            _ = close(number)
            throw failure
        }
        unsafe self.stream = unsafe stream
    }

    deinit { unsafe closedir(stream) }

    /// - Returns: nil at the end; `.` and `..` are left out.
    func next() throws(SystemFailure) -> String? {
        while true {
            // The only way to tell an error from the end (readdir(3)).
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw SystemFailure("list folder") }
                return nil
            }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { return name }
        }
    }
}
