/// A fixed-width integer, least byte first, as every integer of the format is.
func littleEndianBytes(_ value: some FixedWidthInteger & UnsignedInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// The reverse; `bytes` are as many as the integer has.
func littleEndian<Value: FixedWidthInteger & UnsignedInteger>(
    _ bytes: some BidirectionalCollection<UInt8>, as type: Value.Type = Value.self
) -> Value {
    precondition(bytes.count == Value.bitWidth / 8, "wrong width")
    return bytes.reversed().reduce(0) { $0 << 8 | Value($1) }
}
