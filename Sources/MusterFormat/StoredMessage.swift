import MusterModel
import SwiftProtobuf

/// Encoding, and decoding whose cost is bounded before it begins.
enum StoredMessage {
    /// A field costs up to a few hundred bytes in memory and as little as two on the wire, so
    /// fields are counted before they are decoded.
    ///
    /// - Parameter nested: numbers of message fields whose own fields count too.
    static func decode<Message: SwiftProtobuf.Message>(
        _ bytes: [UInt8], as type: Message.Type = Message.self, fieldLimit: Int, nested: Set<UInt64> = [],
        object: String
    ) throws(FormatError) -> Message {
        var budget = fieldLimit
        guard unsafe bytes.withUnsafeBytes({ unsafe countFields($0, nested: nested, budget: &budget) }) else {
            guard budget >= 0 else {
                throw FormatError(
                    object, .tooLarge(what: "fields", count: UInt64(fieldLimit) + 1, limit: UInt64(fieldLimit)))
            }
            throw .malformed(object, "not a protobuf message")
        }
        do {
            var options = BinaryDecodingOptions()
            options.messageDepthLimit = 8
            options.discardUnknownFields = true
            return try Message(serializedBytes: bytes, options: options)
        } catch {
            throw .malformed(object, "not a \(Message.protoMessageName) message")
        }
    }

    /// The same message always gives the same bytes: equal maps must seal to equal chunks.
    static func encode(_ message: some SwiftProtobuf.Message, object: String) throws(FormatError) -> [UInt8] {
        do {
            var options = BinaryEncodingOptions()
            options.useDeterministicOrdering = true
            return try message.serializedBytes(options: options)
        } catch {
            throw .malformed(object, "it does not encode")
        }
    }

    /// Walks the fields (protobuf.dev, "Encoding"), taking one from `budget` for each.
    ///
    /// - Returns: false where the budget is used up, leaving it negative, or the bytes are no message.
    private static func countFields(
        _ bytes: UnsafeRawBufferPointer, nested: Set<UInt64>, budget: inout Int
    ) -> Bool {
        var position = 0
        while position < bytes.count {
            budget -= 1
            guard budget >= 0, let tag = unsafe varint(bytes, &position) else { return false }
            switch tag & 7 {
            case 0:
                guard unsafe varint(bytes, &position) != nil else { return false }
            case 1: position += 8
            case 5: position += 4
            case 2:
                guard let length = unsafe varint(bytes, &position),
                    length <= UInt64(bytes.count - position)
                else { return false }
                let end = position + Int(length)
                if nested.contains(tag >> 3) {
                    let inner = unsafe UnsafeRawBufferPointer(rebasing: bytes[position..<end])
                    guard unsafe countFields(inner, nested: [], budget: &budget) else { return false }
                }
                position = end
            default: return false
            }
        }
        return position == bytes.count
    }

    private static func varint(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard position < bytes.count else { return nil }
            let byte = unsafe bytes[position]
            position += 1
            value |= UInt64(byte & 127) << shift
            if byte < 128 { return value }
        }
        return nil
    }
}

/// Turns the raw fields of one message into values, refusing what does not fit.
struct FieldParser {
    let object: String

    func identifier<Kind>(
        _ bytes: some Collection<UInt8>, _ name: String, as type: Identifier<Kind>.Type = Identifier<Kind>.self
    ) throws(FormatError) -> Identifier<Kind> {
        guard let id = Identifier<Kind>(bytes: bytes) else { throw .malformed(object, "\(name) is not 16 bytes") }
        return id
    }

    func digest<Kind>(
        _ bytes: some RandomAccessCollection<UInt8>, _ name: String, as type: Digest<Kind>.Type = Digest<Kind>.self
    ) throws(FormatError) -> Digest<Kind> {
        guard let digest = Digest<Kind>(bytes: bytes) else { throw .malformed(object, "\(name) is not 32 bytes") }
        return digest
    }

    /// Digests back to back.
    func digests<Kind>(
        _ bytes: some RandomAccessCollection<UInt8>, _ name: String, as type: Digest<Kind>.Type = Digest<Kind>.self
    ) throws(FormatError) -> [Digest<Kind>] {
        guard bytes.count.isMultiple(of: 32) else { throw .malformed(object, "\(name) is not a list of 32 bytes each") }
        let flat = Array(bytes)
        var list: [Digest<Kind>] = []
        list.reserveCapacity(flat.count / 32)
        for start in stride(from: 0, to: flat.count, by: 32) {
            list.append(try digest(flat[start..<start + 32], name))
        }
        return list
    }

    /// Digests back to back, ascending, so that none comes twice.
    func ascendingDigests<Kind>(
        _ bytes: some RandomAccessCollection<UInt8>, _ name: String, as type: Digest<Kind>.Type = Digest<Kind>.self
    ) throws(FormatError) -> [Digest<Kind>] {
        let list: [Digest<Kind>] = try digests(bytes, name)
        guard zip(list, list.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw .malformed(object, "\(name) is not ascending")
        }
        return list
    }

    func text(_ text: String, _ name: String, byteCount: ClosedRange<Int>) throws(FormatError) -> String {
        guard byteCount.contains(text.utf8.count) else {
            throw .malformed(object, "\(name) has \(text.utf8.count) bytes, not \(byteCount)")
        }
        return text
    }

    func version(_ version: UInt32) throws(FormatError) {
        guard version == Format.version else { throw FormatError(object, .unknownVersion(UInt64(version))) }
    }

    /// A moment of the years 1970 to 9999.
    func time(_ microseconds: Int64, _ name: String) throws(FormatError) -> Timestamp {
        try check((0..<253_402_300_800_000_000).contains(microseconds), "\(name) is out of range")
        return Timestamp(microseconds: microseconds)
    }

    /// A byte count that sums without overflow.
    func byteCount(_ value: UInt64, _ name: String) throws(FormatError) -> UInt64 {
        guard value <= 1 << 56 else { throw .malformed(object, "\(name) is out of range") }
        return value
    }

    func check(_ condition: Bool, _ fault: @autoclosure () -> String) throws(FormatError) {
        guard condition else { throw .malformed(object, fault()) }
    }
}
