/// Takes framed bytes apart from the front; every step is bounded by what is there.
struct ByteReader {
    let object: String
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8], object: String) { (self.bytes, self.object) = (bytes, object) }

    var remaining: Int { bytes.count - position }
    /// How many bytes were taken so far.
    var consumed: Int { position }

    mutating func take(_ count: Int, _ what: String) throws(FormatError) -> ArraySlice<UInt8> {
        guard count <= remaining else { throw .malformed(object, "it ends within its \(what)") }
        defer { position += count }
        return bytes[position..<position + count]
    }

    mutating func takeInteger<Value: FixedWidthInteger & UnsignedInteger>(
        _ what: String, as type: Value.Type = Value.self
    ) throws(FormatError) -> Value {
        littleEndian(try take(Value.bitWidth / 8, what))
    }

    mutating func takeMagic(_ magic: Magic) throws(FormatError) {
        guard Array(try take(Magic.byteCount, "magic")) == magic.bytes else {
            throw .malformed(object, "it does not begin with \(magic.rawValue)")
        }
    }

    /// A u32 length and as many bytes.
    mutating func takeBlock(_ what: String) throws(FormatError) -> ArraySlice<UInt8> {
        let length: UInt32 = try takeInteger("\(what)'s length")
        return try take(Int(length), what)
    }

    func expectEnd() throws(FormatError) {
        guard remaining == 0 else { throw .malformed(object, "\(remaining) bytes follow its end") }
    }
}

/// The first eight bytes of a stored object.
enum Magic: String {
    case pack = "MUSTPACK"
    case packEnd = "KCAPTSUM"
    case manifest = "MUSTMANI"
    case receipt = "MUSTRECE"
    case keys = "MUSTKEYS"
    case sealedRecord = "MUSTSEAL"
    case restoreGrant = "MUSTGRNT"

    static let byteCount = 8
    var bytes: [UInt8] { Array(rawValue.utf8) }
}
