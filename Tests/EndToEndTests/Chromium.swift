import Crypto
import Foundation
import MusterTestSupport
import StressRig
import Testing

/// Real Chromium without a screen, and with scripts switched off; `browser.py` drives it.
///
/// It trusts the coordinator's key and no other: a certificate that is not the coordinator's is refused as ever.
final class Chromium {
    struct Page {
        let html: String
        let url: String
        /// What the browser found wrong: broken policies, failed requests, errors.
        let complaints: [String]

        init(_ answer: JSON) {
            (html, url) = (answer["html"].text, answer["url"].text)
            complaints = answer["complaints"].list.map(\.text)
        }
    }

    /// Where the pictures go; they are looked at, not compared.
    static let pictures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: ".build/screenshots")
    private static let patience = Duration.seconds(180)

    private let driver: ChildProcess

    /// - Parameter certificate: of the server, in PEM.
    init(profile: String, certificate: String) throws {
        let program = try #require(
            ["chromium", "chromium-browser", "google-chrome"].flatMap { name in
                ["/usr/bin/\(name)", "/usr/local/bin/\(name)"]
            }.first { FileManager.default.isExecutableFile(atPath: $0) }, "run deploy/install-test-browser first")
        try FileManager.default.createDirectory(at: Self.pictures, withIntermediateDirectories: true)
        let key = try ChildProcess.run("openssl", ["x509", "-in", certificate, "-pubkey", "-noout"]).output
        let base64 = key.split(separator: "\n").filter { !$0.hasPrefix("-") }.joined()
        let hash = Data(SHA256.hash(data: try #require(Data(base64Encoded: base64)))).base64EncodedString()
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "browser.py")
        driver = try ChildProcess(
            "/usr/bin/python3", [script.path(percentEncoded: false), program, profile, hash], takesInput: true,
            output: .reader)
    }

    /// Opens a page and waits until all of it is there.
    func open(_ url: String) throws -> Page { Page(try step(["do": "open", "url": url])) }

    func page() throws -> Page { Page(try step(["do": "page"])) }

    /// Clicks with the mouse and waits for the page that follows.
    func click(_ selector: String) throws -> Page { Page(try step(["do": "click", "selector": selector])) }

    /// What has the focus after each press of the Tab key.
    func tabs(_ count: Int) throws -> [String] { try step(["do": "tabs", "count": count])["focused"].list.map(\.text) }

    /// What a screen reader is told: roles and names.
    func roles() throws -> [String] { try step(["do": "roles"])["nodes"].list.map(\.text) }

    /// - Returns: the size of the whole page in this window.
    @discardableResult
    func picture(
        _ name: String, width: Int = 1280, height: Int = 900, isDark: Bool = false, isWhole: Bool = false
    ) throws -> (width: Int, height: Int) {
        let path = Self.pictures.appending(path: name + ".png").path(percentEncoded: false)
        let size = try step([
            "do": "shot", "path": path, "width": width, "height": height, "dark": isDark, "whole": isWhole,
        ])
        return (size["width"].number, size["height"].number)
    }

    func close() throws { _ = try step(["do": "close"]) }

    private func step(_ step: [String: Any]) throws -> JSON {
        let line = try JSONSerialization.data(withJSONObject: step)
        try driver.write(String(decoding: line, as: UTF8.self) + "\n")
        let answer = try JSON(try #require(try driver.readLine(within: Self.patience)))
        try #require(answer["error"] == .null, "\(step): \(answer["error"].text)")
        return answer
    }
}
