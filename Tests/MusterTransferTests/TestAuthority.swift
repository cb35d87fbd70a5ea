import Foundation
import MusterTestSupport
import MusterTransfer
import Testing

/// A certificate authority of a test's own, made with the openssl tool.
final class TestAuthority: Sendable {
    let directory: TemporaryDirectory
    var authority: String { directory.file("ca.pem") }

    init() throws {
        directory = try TemporaryDirectory()
        try openssl("req -x509 -days 2 -subj /CN=test -addext basicConstraints=critical,CA:TRUE", newKey: "ca")
    }

    /// Makes a certificate for localhost, or one whose last day was yesterday.
    func issue(_ name: String, isExpired: Bool = false) throws -> TLSFiles.Identity {
        let names = "-subj /CN=\(name) -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        try openssl("req \(names)", newKey: name)
        let days = isExpired ? -1 : 2
        try openssl(
            "x509 -req -in \(name).pem -out \(name).pem -CA ca.pem -CAkey ca.key -days \(days) -copy_extensions copy")
        return TLSFiles.Identity(certificate: directory.file("\(name).pem"), key: directory.file("\(name).key"))
    }

    private func openssl(_ arguments: String, newKey: String) throws {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \(newKey).key -out \(newKey).pem"
        try openssl("\(arguments) \(key)")
    }

    private func openssl(_ arguments: String) throws {
        let command = ["--chdir", directory.path, "openssl"] + arguments.split(separator: " ").map(String.init)
        let ending = try ChildProcess.run("env", command)
        try #require(ending.status == 0, "openssl \(arguments): \(ending.output)")
    }
}
