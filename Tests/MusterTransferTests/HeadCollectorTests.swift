import Testing

@testable import MusterTransfer

@Suite("Collecting an answer's head")
struct HeadCollectorTests {
    private func collected(_ lines: [String], maximumBytes: Int = 1000) -> (HTTPHead?, Bool) {
        var collector = HeadCollector(maximumBytes: maximumBytes)
        let isTaken = lines.map { collector.add($0 + "\r\n") }.allSatisfy { $0 }
        return (collector.head, isTaken)
    }

    @Test func interimHeadsAndTrailersAreDropped() {
        let lines = [
            "HTTP/1.1 103 Early Hints", "Link: x", "", "HTTP/1.1 200", "A:1", "a :\t 2 ", "B", ": c", "", "Trailer: t",
            "",
        ]
        let (head, _) = collected(lines)
        #expect(head?.status == 200)
        #expect(head?.headers["a"] == "1")
        #expect(head?.headers["link"] == nil && head?.headers["trailer"] == nil)
    }

    @Test func nothingIsThereBeforeTheLastLine() {
        #expect(collected(["HTTP/1.1 200 OK", "A: 1"]).0 == nil)
        #expect(collected(["HTTP/1.1 what", ""]).0 == nil)
    }

    @Test func endlessInterimHeadsAreRefused() {
        let lines = (0..<100).flatMap { _ in ["HTTP/1.1 100 Continue", ""] }
        #expect(collected(lines).1 == false)
    }
}
