import Testing

/// The real program, in real processes, over TLS on loopback: what a fleet's operator would see.
///
/// One fleet at a time: each has three processes and more, and the machines that run this have few cores.
@Suite("End to end", .serialized)
enum EndToEnd {}
