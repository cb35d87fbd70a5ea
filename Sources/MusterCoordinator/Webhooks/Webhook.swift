package import MusterModel
import MusterTransfer
import Yams

/// Who is told of alarms.
package struct Webhook: Hashable, Sendable {
    static let mostWebhooks = 16
    static let leastSecretBytes = 16

    package let url: String
    /// nil for all kinds.
    package let kinds: Set<AlarmKind>?
    /// Of the key that signs what is sent; it is read whenever something is.
    package let secretFile: String?
    /// PEM of who certifies the server; nil for whom this machine trusts.
    package let authorityFile: String?

    package func wants(_ kind: AlarmKind) -> Bool { kinds?.contains(kind) ?? true }

    init(_ node: Node) throws(CoordinatorSetupError) {
        guard let mapping = node.mapping else { throw .badSettings(reason: "a webhook must hold 'key: value' lines") }
        var (url, secret, authority): (String?, String?, String?)
        var kinds: Set<AlarmKind>?
        for (key, value) in mapping {
            switch key.string {
            case "url": url = value.string
            case "secret_file":
                guard let path = value.string, !path.isEmpty else {
                    throw .badSettings(
                        reason: "'secret_file' of a webhook must be a path; leave it out to sign nothing")
                }
                secret = path
            case "authority_file": authority = value.string
            case "kinds":
                let words = value.sequence.map { $0.map { $0.string ?? "" } } ?? [value.string ?? ""]
                let known = words.compactMap(AlarmKind.init(rawValue:))
                guard known.count == words.count, !known.isEmpty else {
                    throw .badSettings(reason: "'kinds' of a webhook must be kinds of alarms, as in the runbook")
                }
                kinds = Set(known)
            default: throw .badSettings(reason: "unknown webhook key '\(key.string ?? "?")'")
            }
        }
        guard let url, Self.isGood(url) else {
            throw .badSettings(reason: "'url' of a webhook must begin with https://, or with http:// on this machine")
        }
        (self.url, self.kinds, secretFile, authorityFile) = (url, kinds, secret, authority)
    }

    /// The first line of its file; nil where nothing is signed.
    func secret() throws(CoordinatorSetupError) -> [UInt8]? {
        guard let secretFile else { return nil }
        let secret = Array(try PrivateFile.readText(secretFile).utf8.prefix { $0 != UInt8(ascii: "\n") })
        guard secret.count >= Self.leastSecretBytes else { throw .weakSecret(path: secretFile) }
        return secret
    }

    private static func isGood(_ url: String) -> Bool {
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 32 && $0 < 127 }), !url.contains("@") else {
            return false
        }
        if url.hasPrefix("https://") { return url.count > 8 }
        guard url.hasPrefix("http://") else { return false }
        let authority = url.dropFirst(7).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let end = authority.hasSuffix("]") ? nil : authority.lastIndex(of: ":")
        let host = authority.prefix(upTo: end ?? authority.endIndex)
        return HTTPRequest.isLoopback(host: String(host))
    }
}

extension CoordinatorSettings {
    static func webhooks(_ node: Node) throws(CoordinatorSetupError) -> [Webhook] {
        guard let sequence = node.sequence, sequence.count <= Webhook.mostWebhooks else {
            throw .badSettings(reason: "'webhooks' must be a list of at most \(Webhook.mostWebhooks)")
        }
        var webhooks: [Webhook] = []
        for item in sequence {
            let webhook = try Webhook(item)
            guard !webhooks.contains(where: { $0.url == webhook.url }) else {
                throw .badSettings(reason: "two webhooks have one url")
            }
            webhooks.append(webhook)
        }
        return webhooks
    }
}
