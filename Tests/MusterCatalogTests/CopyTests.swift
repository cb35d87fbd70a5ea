import Foundation
import MusterCatalog
import MusterModel
import MusterTestSupport
import Testing

@Suite("Copies of the catalog")
struct CopyTests {
    /// A copy waits for a reader. Where it did that on Swift's own few threads, as many copies as threads beside busy
    /// readers stood still for good, and everything with them: what gives a reader back needs such a thread.
    @Test func manyAtOnceBesideReadersComeToAnEnd() async throws {
        let fixture = try await Fixture()
        let folder = try TemporaryDirectory()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<16 {
                group.addTask { try await fixture.catalog.copy(to: folder.file("copy-\(number)")) }
                for _ in 0..<50 { group.addTask { _ = try await fixture.catalog.totals() } }
            }
            try await group.waitForAll()
        }
        for number in 0..<16 {
            let size = try FileManager.default.attributesOfItem(atPath: folder.file("copy-\(number)"))[.size]
            #expect(try #require(size as? Int) > 0)
        }
    }
}
