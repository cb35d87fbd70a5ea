import MusterModel
import MusterStore
import Testing

@Suite("The words of a node store")
struct NodeStoreWordsTests {
    @Test(arguments: ["node://10.0.0.2:7430/edge-1", "node://edge.example:1/a", "node://[fd00::2]:65535/edge_1"])
    func anAddressIsReadAndWrittenAlike(text: String) throws {
        #expect(try #require(NodeStoreAddress(text)).description == text)
    }

    @Test(arguments: [
        "", "node://", "node://h:1", "node://h:1/", "node://h:1/a/b", "node://h:0/a", "node://h:65536/a", "node://h/a",
        "node://:1/a", "node://[h]:1/a", "node://a:b:1/a", "node://h:1/..", "node://h:1/a b", "node://u@h:1/a",
        "file:///h:1/a", "node://h:1/a?b", "NODE://h:1/a",
    ])
    func whatIsNoAddressIsRefused(text: String) { #expect(NodeStoreAddress(text) == nil) }

    @Test func aPageOfAListingIsReadAndWrittenAlike() throws {
        let objects = try ["a", "packs/ab/c.d"].enumerated().map { index, name in
            StoredObject(name: try #require(ObjectName(name)), byteCount: UInt64(index))
        }
        #expect(NodeStoreWire.objects(Array(NodeStoreWire.text(of: objects).utf8)) == objects)
        #expect(NodeStoreWire.objects([]) == [])
    }

    @Test(arguments: ["\n", "1 a", "1 a\n\n", "a 1\n", "1 ../a\n", "-1 a\n", "1  a\n", "1 a b\n", "\u{0}"])
    func whatIsNoPageIsRefused(text: String) { #expect(NodeStoreWire.objects(Array(text.utf8)) == nil) }

    @Test(arguments: ["", "packs/", "packs/ab/cd", "manifests/a/b/", "format.json", "keys-"])
    func aPrefixIsTakenAsItIs(text: String) { #expect(ObjectPrefix(text)?.description == text) }

    @Test(arguments: ["/", "../", "packs/../", "packs//", "packs/.", "incoming/", "incoming", "a b", "%2e"])
    func whatNoNameBeginsWithIsNoPrefix(text: String) { #expect(ObjectPrefix(text) == nil) }
}
