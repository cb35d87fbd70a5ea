import GRDB
import MusterTestSupport
import Testing

@testable import MusterCatalog

/// Breaks one rule of the catalog behind its back: the simulation has to see it.
struct Sabotage: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// So many lives suffice to see it, with much to spare.
    var lives = 50
    let statements: String

    func begin(in catalog: Catalog) async throws {
        let statements = statements
        try await catalog.pool.write { try $0.execute(sql: statements) }
    }

    static let all = rules + forgotten

    /// Objects that nothing refers to, and whose names are lost: garbage for ever.
    private static let forgotten = [
        "replaced", "damaged", "unneeded", "forgotten", "surplus", "not needed", "not claimed", "never recorded",
    ].map { reason in
        Sabotage(
            testDescription: "what is \(reason) is not deleted",
            statements: """
                CREATE TRIGGER broken AFTER INSERT ON discarded_object WHEN NEW.reason = '\(reason)' BEGIN
                    DELETE FROM discarded_object WHERE number = NEW.number;
                END
                """)
    }

    private static let rules = [
        Sabotage(
            testDescription: "no pin holds",
            statements: """
                CREATE TRIGGER broken AFTER INSERT ON pin BEGIN DELETE FROM pin WHERE number = NEW.number; END
                """),
        Sabotage(
            testDescription: "no lease holds",
            statements: """
                CREATE TRIGGER broken_first AFTER INSERT ON pack BEGIN
                    UPDATE pack SET leased_until = 0 WHERE number = NEW.number;
                END;
                CREATE TRIGGER broken AFTER UPDATE OF leased_until ON pack WHEN NEW.leased_until > 0 BEGIN
                    UPDATE pack SET leased_until = 0 WHERE number = NEW.number;
                END
                """),
        Sabotage(
            testDescription: "packs die one snapshot too early",
            statements: """
                CREATE TRIGGER broken AFTER UPDATE OF died ON pack_reference WHEN OLD.died IS NULL BEGIN
                    UPDATE pack_reference SET died = NEW.died - 1
                    WHERE lineage = NEW.lineage AND pack = NEW.pack AND born = NEW.born;
                END
                """),
        Sabotage(
            testDescription: "no snapshot is based on another",
            statements: """
                CREATE TRIGGER broken AFTER INSERT ON snapshot BEGIN
                    UPDATE snapshot SET base = NULL WHERE number = NEW.number;
                END
                """),
        Sabotage(
            testDescription: "what is condemned stays so, though it came again",
            statements: """
                CREATE TRIGGER broken AFTER UPDATE OF condemned_at ON pack
                WHEN OLD.condemned_at IS NOT NULL AND NEW.condemned_at IS NULL BEGIN
                    UPDATE pack SET condemned_at = OLD.condemned_at WHERE number = NEW.number;
                END
                """),
        Sabotage(
            testDescription: "a copy that is bad counts as good",
            statements: """
                CREATE TRIGGER broken AFTER UPDATE OF state ON pack_replica WHEN NEW.state <> 'present' BEGIN
                    UPDATE pack_replica SET state = 'present' WHERE pack = NEW.pack AND store = NEW.store;
                END
                """),
        Sabotage(
            testDescription: "a manifest that is gone counts as there",
            statements: """
                CREATE TRIGGER broken AFTER UPDATE OF state ON manifest_replica WHEN NEW.state <> 'present' BEGIN
                    UPDATE manifest_replica SET state = 'present'
                    WHERE snapshot = NEW.snapshot AND store = NEW.store;
                END
                """),
        Sabotage(
            testDescription: "what a store has no more of a node is not counted",
            statements: "DROP TRIGGER manifest_replica_went"),
        Sabotage(
            testDescription: "a store that gives up a pack is not counted",
            statements: "DROP TRIGGER pack_replica_went"),
    ]
}
