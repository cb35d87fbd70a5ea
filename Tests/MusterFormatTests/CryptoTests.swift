import Testing

@testable import MusterFormat
@testable import MusterModel

private func hex(_ text: String) throws -> [UInt8] { try #require(Hex.decode(text)) }

@Suite("Cryptography matches the published vectors")
struct CryptoTests {
    /// FIPS 180-4 examples.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func sha256IsSHA256(text: String, digest: String) {
        #expect(SHA256Hasher.hash(Array(text.utf8), as: PageHash.self).description == digest)
    }

    @Test func aHasherStartsAnewAfterEachMessage() {
        var hasher = SHA256Hasher()
        hasher.update(Array("ab".utf8))
        hasher.update(Array("c".utf8))
        let first: PageHash = hasher.finish()
        hasher.update(Array("abc".utf8))
        #expect(hasher.finish(as: PageHash.self) == first)
        #expect(first == SHA256Hasher.hash(Array("abc".utf8)))
    }

    /// RFC 4231, cases 1, 2 and 6.
    @Test(arguments: [
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            String(repeating: "aa", count: 131),
            "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
    ])
    func hmacMatchesRFC4231(key: String, message: String, code: String) throws {
        #expect(Hex.encode(KeyDerivation.hmac(key: try hex(key), message: try hex(message))) == code)
    }

    /// RFC 5869, appendix A, cases 1 to 3.
    @Test func hkdfMatchesRFC5869() throws {
        func derive(_ secret: [UInt8], _ salt: [UInt8], _ purpose: [UInt8], _ count: Int) -> String {
            Hex.encode(KeyDerivation.hkdf(secret: secret, salt: salt, purpose: purpose, byteCount: count))
        }
        let secret = [UInt8](repeating: 0x0b, count: 22)
        #expect(
            derive(secret, Array(0...0x0c), Array(0xf0...0xf9), 42)
                == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
        #expect(
            derive(Array(0...0x4f), Array(0x60...0xaf), Array(0xb0...0xff), 82)
                == "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                + "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                + "cc30c58179ec3e87c14c01d5c1f3434f1d87")
        #expect(
            derive(secret, [], [], 42)
                == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
    }

    /// "The Galois/Counter Mode of Operation" (McGrew, Viega), test case 16 and its likes for 256-bit keys.
    @Test(
        arguments: [
            ("", "", "cafebabefacedbaddecaf888", nil),
            (
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
                    + "b16aedf5aa0de657ba637b39",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2", "cafebabefacedbaddecaf888",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
                    + "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
            ),
        ] as [(String, String, String, String?)])
    func aesGCMMatchesThePublishedCases(plain: String, context: String, nonce: String, sealed: String?) throws {
        let key = try hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
        let (plain, context, nonce) = (try hex(plain), try hex(context), try hex(nonce))
        var cipher = AuthenticatedCipher(key: key)
        var output = [UInt8](repeating: 0, count: plain.count + 16)
        plain.withUnsafeBytes { input in
            output.withUnsafeMutableBytes { cipher.seal(input, nonce: nonce, context: context, into: $0) }
        }
        if let sealed { #expect(Hex.encode(output) == sealed) }
        var opened = [UInt8](repeating: 0xff, count: plain.count)
        let isAuthentic = output.withUnsafeBytes { input in
            opened.withUnsafeMutableBytes { cipher.open(input, nonce: nonce, context: context, into: $0) }
        }
        #expect(isAuthentic)
        #expect(opened == plain)
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    @Test(arguments: [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                + "d25bf5f0595bbe24655141438e7a100b"
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                + "387b2eaeb4302aeeb00d291612bb0c00"
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
                + "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ])
    func ed25519MatchesRFC8032(seed: String, publicKey: String, message: String, signature: String) throws {
        let key = CryptoKey(privateBytes: try hex(seed), type: ed25519)
        #expect(Hex.encode(key.publicBytes()) == publicKey)
        #expect(Hex.encode(key.sign(try hex(message))) == signature)
        #expect(key.verify(try hex(signature), of: try hex(message)))
    }

    /// RFC 7748, section 6.1.
    @Test func x25519MatchesRFC7748() throws {
        let alice = try hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        let bobPublic = try hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        let key = CryptoKey(privateBytes: alice, type: x25519)
        #expect(
            Hex.encode(key.publicBytes()) == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        guard let peer = CryptoKey(publicBytes: bobPublic, type: x25519) else {
            Issue.record("no key")
            return
        }
        let secret = key.sharedSecret(with: peer)
        #expect(
            Hex.encode(try #require(secret))
                == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    }

    @Test func aPeerOfSmallOrderGivesNoSecret() {
        let key = CryptoKey(privateBytes: Array(1...32), type: x25519)
        guard let peer = CryptoKey(publicBytes: [UInt8](repeating: 0, count: 32), type: x25519) else {
            Issue.record("no key")
            return
        }
        let secret = key.sharedSecret(with: peer)
        #expect(secret == nil)
    }

    @Test(arguments: SignatureDomain.allCases, SignatureDomain.allCases)
    func aSignatureCountsInItsDomainOnly(signed: SignatureDomain, read: SignatureDomain) throws {
        let key = try Fixture().signer
        let signature = key.sign([1, 2, 3], as: signed)
        #expect(key.verifyingKey.accepts(signature, of: [1, 2, 3], as: read) == (signed == read))
    }

    @Test func theSystemSourceDoesNotRepeat() {
        let first = RandomSource.system.bytes(32)
        #expect(first.count == 32)
        #expect(first != RandomSource.system.bytes(32))
        #expect(RandomSource.system.bytes(0).isEmpty)
    }

    @Test func constantTimeComparisonCompares() {
        #expect(areEqualInConstantTime([1, 2, 3], [1, 2, 3]))
        #expect(!areEqualInConstantTime([1, 2, 3], [1, 2, 4]))
        #expect(!areEqualInConstantTime([1, 2, 3], [1, 2]))
        #expect(areEqualInConstantTime([], []))
    }
}

/// NID_ED25519 and NID_X25519 of libcrypto's obj_mac.h, which only the target imports.
private let ed25519: Int32 = 1087
private let x25519: Int32 = 1034
