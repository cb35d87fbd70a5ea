import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterStore

@Suite("The words of S3")
struct S3WordsTests {
    // MARK: - Addresses

    @Test(arguments: [
        (
            "s3://muster", "s3://muster?region=us-east-1&style=virtual", "https://muster.s3.us-east-1.amazonaws.com",
            "/a"
        ),
        (
            "s3://muster/fleet/one/?region=eu-west-1",
            "s3://muster/fleet/one?region=eu-west-1&style=virtual",
            "https://muster.s3.eu-west-1.amazonaws.com", "/fleet/one/a"
        ),
        (
            "s3://muster/x?endpoint=https://s3.example:9000/",
            "s3://muster/x?endpoint=https://s3.example:9000&region=us-east-1&style=path", "https://s3.example:9000",
            "/muster/x/a"
        ),
        (
            "s3://muster?endpoint=http://[::1]:80&region=r&style=virtual",
            "s3://muster?endpoint=http://[::1]:80&region=r&style=virtual", "http://muster.[::1]:80", "/a"
        ),
        (
            "s3://muster?style=path&region=x", "s3://muster?region=x&style=path", "https://s3.x.amazonaws.com",
            "/muster/a"
        ),
    ])
    func anAddressIsReadAndWritten(text: String, written: String, server: String, path: String) throws {
        let address = try #require(S3Address(text))
        #expect(address.description == written)
        #expect(S3Address(written) == address)
        #expect(address.server.description == server)
        #expect(address.path(of: address.key(of: "a")) == path)
    }

    @Test(arguments: [
        "", "s3://", "s3://ab", "s3:///x", "s3://bu/cket", "S3://muster", "s3://muster/../x", "s3://muster//x",
        "s3://muster?", "s3://muster?region", "s3://muster?region=", "s3://muster?region=a/b", "s3://muster?style=none",
        "s3://muster?region=a&region=b", "s3://muster?color=blue", "s3://muster?endpoint=s3.example",
        "s3://muster?endpoint=http://s3.example", "s3://muster?endpoint=http://127.0.0.1.example",
        "s3://muster?endpoint=https://user@s3.example", "s3://muster?endpoint=https://s3.example/path",
        "s3://muster?endpoint=https://s3.example:0", "s3://muster?endpoint=https://", "s3://mus ter",
    ])
    func whatIsNoAddressIsRefused(text: String) { #expect(S3Address(text) == nil) }

    @Test func aKeyThatIsNotBelowThePrefixIsNotOurs() throws {
        let address = try #require(S3Address("s3://muster/a/b"))
        #expect(address.name(ofKey: "a/b/packs/x")?.description == "packs/x")
        for key in ["a/b", "a/bc/x", "packs/x", "a/b/../x", "a/b/", ""] { #expect(address.name(ofKey: key) == nil) }
    }

    // MARK: - Credentials

    @Test func theCredentialsOfAmazonsToolsAreRead() throws {
        let text = """
            # comment
            [other]
            aws_access_key_id = NO
            aws_secret_access_key = NO
            [default]
            aws_access_key_id=ID
              aws_secret_access_key = se/cr+et==
            region = eu
            """
        #expect(S3Credentials(fileText: text) == S3Credentials(accessKeyID: "ID", secretAccessKey: "se/cr+et=="))
        let lent = try #require(
            S3Credentials(fileText: "aws_access_key_id=a\naws_secret_access_key=b\naws_session_token=c\n"))
        #expect(lent.sessionToken == "c")
        #expect("\(lent)" == "credentials of a")
    }

    @Test(arguments: [
        "", "[default]\n", "aws_access_key_id = a", "no pair", "aws_access_key_id = a b\naws_secret_access_key = c",
        "[a]\naws_access_key_id=a\naws_secret_access_key=b\n[b]\naws_access_key_id=a\naws_secret_access_key=b",
    ])
    func whatHoldsNoCredentialsIsRefused(text: String) { #expect(S3Credentials(fileText: text) == nil) }

    // MARK: - Signatures

    /// The examples of Amazon's documentation ("Signature Calculations for the Authorization Header").
    private static let published: [(RequestSigner.Subject, signature: String)] = [
        (
            subject("GET", "/test.txt", headers: ["Range": "bytes=0-9"]),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        ),
        (
            subject(
                "PUT", "/test$file.text",
                headers: ["Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"],
                payloadHash: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        ),
        (
            subject("GET", "/", query: [("lifecycle", "")]),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        ),
        (
            subject("GET", "/", query: [("prefix", "J"), ("max-keys", "2")]),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        ),
    ]

    @Test(arguments: published.indices)
    func requestsAreSignedAsPublished(index: Int) throws {
        let (subject, signature) = Self.published[index]
        let headers = try Self.signer().sign(subject, at: Self.moment).headers
        #expect(headers["authorization"]?.hasSuffix("Signature=\(signature)") == true, "\(headers)")
        #expect(headers["x-amz-date"] == "20130524T000000Z")
    }

    @Test func addressesAreSignedAsPublished() throws {
        let path = try Self.signer().presign(
            Self.subject("GET", "/test.txt", payloadHash: RequestSigner.unsignedPayload), lifetime: .seconds(86_400),
            at: Self.moment)
        #expect(
            path == "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
                + "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
                + "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                + "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
    }

    @Test func aMomentWithAFractionIsTheSecondItIsIn() throws {
        let (whole, later) = (Self.moment, Self.moment + .microseconds(999_999))
        let subject = Self.subject("GET", "/a")
        #expect(try Self.signer().sign(subject, at: whole).headers == Self.signer().sign(subject, at: later).headers)
    }

    private static let moment = Timestamp(microseconds: 1_369_353_600_000_000)

    private static func signer() throws -> RequestSigner {
        RequestSigner(
            credentials: try #require(
                S3Credentials(
                    accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")),
            region: "us-east-1")
    }

    private static func subject(
        _ method: String, _ path: String, query: [(name: String, value: String)] = [], headers: [String: String] = [:],
        payloadHash: String = S3Request.hashOfNothing
    ) -> RequestSigner.Subject {
        RequestSigner.Subject(
            method: method, host: "examplebucket.s3.amazonaws.com", path: path, query: query, headers: headers,
            payloadHash: payloadHash)
    }

    // MARK: - Answers

    @Test func elementsAreFoundByTheirWholeName() throws {
        let text = XMLText(
            Array(
                """
                <?xml version="1.0"?><R xmlns="x"><KeyCount>2</KeyCount><C><Key>a&amp;b%20c+d</Key><Size>1</Size></C>
                <C ><Key>&#x65;&#101;&lt;&gt;&quot;&apos;</Key><Empty/></C></R>
                """.utf8))
        let entries = try #require(text.first("R")).all("C")
        #expect(entries.map { $0.first("Key")?.string } == ["a&b%20c+d", "ee<>\"'"])
        #expect(entries[0].first("Key")?.string?.formDecoded == "a&b c d")
        #expect(entries[1].first("Empty")?.string == "")
        #expect(text.first("Ke") == nil)
        #expect(text.first("C")?.string == nil, "it holds elements")
    }

    /// Who may read and not write is there. Whether the rest can be read tells `ReconnectingStore`.
    @Test func aWriteThatIsDeniedDoesNotMakeTheStoreAway() throws {
        let address = try #require(S3Address("s3://muster?region=r"))
        let credentials = try #require(S3Credentials(accessKeyID: "a", secretAccessKey: "b"))
        let connection = try S3Connection(
            store: "s3", address: address, access: S3Access(credentials: credentials),
            retry: StoreRetry(random: .seeded(1), clock: ContinuousClock()), clock: ManualClock(),
            settings: HTTPClient.Settings())
        func answer(_ code: String) -> HTTPResponse {
            HTTPResponse(
                head: HTTPHead(status: 403, headers: [:]), body: Array("<Error><Code>\(code)</Code></Error>".utf8))
        }
        func isAbsence(_ error: any Error) -> Bool { (error as? StoreError)?.meansAbsence == true }
        let denied = answer("AccessDenied")
        #expect { try connection.requireWritten(denied, about: .format) } throws: { !isAbsence($0) }
        #expect { try connection.require(200, of: denied, about: .format) } throws: { isAbsence($0) }
        let unknown = answer("InvalidAccessKeyId")
        #expect { try connection.requireWritten(unknown, about: .format) } throws: { isAbsence($0) }
    }

    @Test(arguments: ["<R><Key>a", "<R><Key", "<R></R", "", "Key", "<Keys>a</Keys>", "\u{0}"])
    func whatIsNotWellFormedGivesNothing(text: String) {
        #expect(XMLText(Array(text.utf8)).first("R")?.first("Key") == nil)
    }

    @Test(arguments: ["&nosuch;", "&amp", "&#xD800;", "&#x110000;", "&;", "&#;"])
    func unknownEntitiesGiveNothing(text: String) {
        #expect(XMLText(Array("<a>\(text)</a>".utf8)).first("a")?.string == nil)
    }

    @Test(arguments: ["%", "%4", "%zz", "a%", "%ff", "%+1"])
    func whatIsNotEncodedWellIsRefused(text: String) { #expect(text.formDecoded == nil) }
}
