import ArgumentParser
import Foundation
import MusterAPI
import MusterModel
import MusterStore

/// What a store at an S3 server is reached with.
struct S3Options: ParsableArguments {
    @Option(
        help: """
            For a store at s3://: a file as in ~/.aws/credentials. Default: the variables AWS_ACCESS_KEY_ID,
            AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
            """)
    var credentials: String?

    @Option(help: "For a store at s3://: who certifies the server, as a PEM file. Default: whom this machine trusts.")
    var storeAuthority: String?

    /// - Returns: nil where nothing was given.
    func access() throws -> S3Access? {
        guard let credentials = try found() else { return nil }
        guard let path = storeAuthority else { return S3Access(credentials: credentials) }
        // Missing, unreadable or no PEM: for the operator that is one mistake with one remedy.
        guard let text = try? String(contentsOfFile: path, encoding: .utf8), text.contains("-----BEGIN CERTIFICATE")
        else { throw UnusableFile(path: path, what: "no certificates in PEM") }
        return S3Access(credentials: credentials, authority: text)
    }

    func required(for url: String) throws -> S3Access {
        guard let access = try access() else { throw CredentialsMissing(url: url) }
        return access
    }

    private func found() throws -> S3Credentials? {
        if let path = credentials {
            // As above.
            guard let text = try? String(contentsOfFile: path, encoding: .utf8),
                let found = S3Credentials(fileText: text)
            else { throw UnusableFile(path: path, what: "no aws_access_key_id with its aws_secret_access_key") }
            return found
        }
        let variables = ProcessInfo.processInfo.environment
        guard let id = variables["AWS_ACCESS_KEY_ID"], let secret = variables["AWS_SECRET_ACCESS_KEY"] else {
            return nil
        }
        return S3Credentials(
            accessKeyID: id, secretAccessKey: secret, sessionToken: variables["AWS_SESSION_TOKEN"])
    }

    private struct UnusableFile: ActionableError {
        let path, what: String
        var summary: String { "'\(path)' holds \(what)" }
        var hint: String { "Check the path, and that this user can read the file." }
        var isTransient: Bool { false }
    }

    private struct CredentialsMissing: ActionableError {
        let url: String
        var summary: String { "the store \(url) needs credentials" }
        var hint: String { "Give --credentials FILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY." }
        var isTransient: Bool { false }
    }
}
