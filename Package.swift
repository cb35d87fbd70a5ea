// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 rules, warnings are errors.
let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]
/// Targets that talk to C: every unsafe expression is marked.
let cHouse = house + [.strictMemorySafety()]

let package = Package(
    name: "muster",
    products: [.executable(name: "muster", targets: ["muster"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-certificates", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-asn1", exact: "1.7.4"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
    ],
    targets: [
        .target(name: "CSQLite", linkerSettings: [.linkedLibrary("sqlite3")]),
        .target(name: "CCrypto", linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "CZstd", linkerSettings: [.linkedLibrary("zstd")]),
        .target(name: "CCurl", linkerSettings: [.linkedLibrary("curl")]),
        .target(name: "CProcess"),
        .target(name: "MusterModel", swiftSettings: house),
        .target(name: "MusterSQLite", dependencies: ["CSQLite", "MusterModel"], swiftSettings: cHouse),
        .target(
            name: "MusterFormat",
            dependencies: [
                "CCrypto", "CZstd", "MusterModel", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ], swiftSettings: cHouse),
        .target(name: "MusterTransfer", dependencies: ["CCurl", "MusterModel"], swiftSettings: cHouse),
        .target(
            name: "MusterServing",
            dependencies: [
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ], swiftSettings: house),
        .target(
            name: "MusterAPI",
            dependencies: [
                "MusterModel", "MusterTransfer", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ], swiftSettings: house),
        .target(
            name: "MusterStore",
            dependencies: ["MusterModel", "MusterTransfer", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: cHouse),
        .target(
            name: "MusterCatalog",
            dependencies: ["MusterModel", .product(name: "GRDB", package: "GRDB.swift")], swiftSettings: house),
        .target(
            name: "MusterEngine",
            dependencies: ["MusterModel", "MusterSQLite", "MusterFormat", "MusterStore"], swiftSettings: house),
        .target(
            name: "MusterAgent",
            dependencies: [
                "MusterModel", "MusterFormat", "MusterSQLite", "MusterTransfer", "MusterAPI", "MusterStore",
                "MusterEngine", "MusterServing",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "Yams", package: "Yams"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "X509", package: "swift-certificates"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
            ], swiftSettings: house),
        .target(
            name: "MusterCoordinator",
            dependencies: [
                "MusterModel", "MusterFormat", "MusterTransfer", "MusterAPI", "MusterStore", "MusterCatalog",
                "MusterEngine", "MusterServing",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "Yams", package: "Yams"),
                .product(name: "X509", package: "swift-certificates"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
            ], swiftSettings: house),
        .target(
            name: "MusterTestSupport", dependencies: ["MusterModel", "MusterStore", "MusterTransfer"],
            swiftSettings: house),
        .executableTarget(
            name: "muster",
            dependencies: [
                "CProcess", "MusterModel", "MusterFormat", "MusterSQLite", "MusterTransfer", "MusterAPI", "MusterStore",
                "MusterEngine", "MusterAgent", "MusterCoordinator",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ], swiftSettings: house),

        .testTarget(name: "TidyTests", swiftSettings: house),
        .testTarget(
            name: "MusterModelTests", dependencies: ["MusterModel", "MusterTestSupport"], swiftSettings: house),
        .target(
            name: "StressRig", dependencies: ["MusterModel", "MusterSQLite", "MusterTestSupport"],
            path: "Tests/StressRig",
            swiftSettings: house),
        .executableTarget(
            name: "stress-workload", dependencies: ["CSQLite", "MusterModel", "MusterSQLite"],
            path: "Tests/StressWorkload",
            swiftSettings: house),
        .executableTarget(
            name: "receipt-load",
            dependencies: ["MusterModel", "MusterFormat", "MusterTransfer", "MusterAPI", "MusterStore", "MusterAgent"],
            path: "Tests/ReceiptLoad", swiftSettings: house),
        .executableTarget(
            name: "catalog-load",
            dependencies: ["MusterModel", "MusterCatalog", .product(name: "GRDB", package: "GRDB.swift")],
            path: "Tests/CatalogLoad",
            swiftSettings: house),
        .testTarget(
            name: "MusterSQLiteTests",
            dependencies: [
                "CSQLite", "MusterSQLite", "MusterModel", "MusterTestSupport", "StressRig", "stress-workload",
            ], swiftSettings: house),
        .testTarget(
            name: "StressTests", dependencies: ["MusterSQLite", "MusterTestSupport", "StressRig", "stress-workload"],
            exclude: ["SlowCheckpoint.c"], swiftSettings: house),
        .testTarget(
            name: "MusterFormatTests", dependencies: ["MusterFormat", "MusterModel", "MusterTestSupport"],
            swiftSettings: house),
        .testTarget(
            name: "MusterTransferTests", dependencies: ["MusterTransfer", "MusterModel", "MusterTestSupport"],
            swiftSettings: house),
        .testTarget(
            name: "MusterServingTests",
            dependencies: ["MusterServing", .product(name: "CoreMetrics", package: "swift-metrics")],
            swiftSettings: house),
        .testTarget(
            name: "MusterTestSupportTests", dependencies: ["MusterModel", "MusterTestSupport"], swiftSettings: house),
        .testTarget(
            name: "MusterStoreTests",
            dependencies: ["MusterStore", "MusterModel", "MusterTestSupport", "MusterTransfer"],
            swiftSettings: house),
        .testTarget(
            name: "MusterEngineTests",
            dependencies: [
                "MusterAgent", "MusterEngine", "MusterFormat", "MusterModel", "MusterSQLite", "MusterStore",
                "MusterTestSupport", "StressRig", "stress-workload",
            ], swiftSettings: house),
        .testTarget(
            name: "MusterCoordinatorTests",
            dependencies: [
                "MusterCoordinator", "MusterCatalog", "MusterModel", "MusterFormat", "MusterAPI", "MusterStore",
                "MusterTransfer", "MusterServing", "MusterTestSupport", "MusterAgent", "MusterSQLite",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "X509", package: "swift-certificates"),
            ], exclude: ["webhook_receiver.py"], swiftSettings: house),
        .testTarget(
            name: "MusterAgentTests",
            dependencies: [
                "MusterAgent", "MusterCoordinator", "MusterEngine", "MusterFormat", "MusterModel", "MusterSQLite",
                "MusterStore", "MusterTestSupport", "MusterTransfer",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ], swiftSettings: house),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "muster", "MusterAgent", "MusterCoordinator", "MusterFormat", "MusterModel", "MusterSQLite",
                "MusterServing", "MusterStore", "MusterTestSupport", "MusterTransfer", "StressRig", "stress-workload",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "X509", package: "swift-certificates"),
            ], exclude: ["browser.py", "version_relay.py"], swiftSettings: house),
        .testTarget(
            name: "MusterCatalogTests",
            dependencies: [
                "MusterCatalog", "MusterModel", "MusterTestSupport", .product(name: "GRDB", package: "GRDB.swift"),
            ], swiftSettings: house),
    ]
)
