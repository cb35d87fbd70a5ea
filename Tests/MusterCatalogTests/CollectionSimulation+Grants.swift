import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// Packs that the node puts into a store by itself, and damage that is found and repaired.
extension CollectionSimulation {
    /// Asks for a name, puts the pack there in its own time, and claims it. What is put and never claimed is no orphan:
    /// gc has its name.
    func putUnderGrant(_ pack: PackID) -> [Step] {
        let store = acknowledgers[0]
        return [
            {
                let now = self.fixture.clock.now()
                guard try await !self.isKnown(pack, now: now) else { return }
                let grant = Catalog.UploadGrant(
                    node: self.node.id, scope: self.node.scope, pack: pack, sizeBytes: 1000, store: store,
                    generation: self.generation(), expiresAt: now + .seconds(900))
                guard try await self.fixture.catalog.grant([grant], limit: 64) == 1 else { return }
                self.note("\(self.short(pack)) \(grant.generation) may be put into \(store)")
                self.added = [self.beginPut(grant), self.claim(grant)]
            }
        ]
    }

    /// The store takes it where it begins in time, and no server lets a request take a day.
    private func beginPut(_ grant: Catalog.UploadGrant) -> Step {
        {
            guard self.fixture.clock.now() < grant.expiresAt else { return }
            self.added = [
                {
                    guard self.fixture.clock.now() < grant.expiresAt + Catalog.lastLookAtGrant else { return }
                    let name = "pack \(grant.generation)"
                    self.put(name, of: .pack(grant.pack), in: grant.store)
                    self.orphans.remove(name)
                    self.note("\(self.short(grant.pack)) \(grant.generation) is put")
                }
            ]
        }
    }

    private func claim(_ grant: Catalog.UploadGrant) -> Step {
        {
            let open = try await self.fixture.catalog.openGrant(
                grant.pack, generation: grant.generation, of: self.node.id)
            let name = "pack \(grant.generation)"
            guard try await !self.isKnown(grant.pack, now: self.fixture.clock.now()), open != nil,
                self.objects[grant.store]?.contains(name) == true
            else { return }
            self.added = [
                {
                    let isClaimed = try await self.fixture.catalog.claim(
                        grant, as: try self.newPack(grant.pack, grant.generation, in: grant.store),
                        now: self.fixture.clock.now())
                    self.note("claim of \(self.short(grant.pack)) \(grant.generation): \(isClaimed)")
                    if isClaimed { self.promise([grant.pack]) }
                }
            ]
        }
    }

    /// Whether a good copy is there, so that it need not be sent.
    private func isKnown(_ pack: PackID, now: Timestamp) async throws -> Bool {
        guard try await fixture.catalog.hasPack(pack, in: node.scope),
            try await fixture.catalog.refresh(pack, in: node.scope, now: now)
        else { return false }
        promise([pack])
        return true
    }

    // MARK: - Damage

    /// A scrub finds one copy of something bad that has another good one: one fault at a time.
    func findDamage() async throws {
        let image = try catalogImage()
        let now = fixture.clock.now()
        if Bool.random(using: &dice), let pack = packs.randomElement(using: &dice) {
            let good = goodCopies(of: pack, image)
            guard good.count > 1, let victim = good.randomElement(using: &dice) else { return }
            let isGone = Bool.random(using: &dice)
            if isGone { objects[victim.store]?.remove("pack \(victim.generation)") }
            note("\(short(pack)) \(victim.generation) in \(victim.store) is \(isGone ? "missing" : "damaged")")
            try await fixture.catalog.mark(
                pack: victim.number, store: victim.store, generation: victim.generation,
                as: isGone ? .missing : .damaged, isHashed: true, now: now)
        } else if let taken = snapshots.randomElement(using: &dice),
            let link = image.snapshots[taken.commit.snapshot]
        {
            let good = link.places.filter { $0.value.isSound }.keys.sorted()
            guard good.count > 1, let store = good.randomElement(using: &dice), let held = link.places[store] else {
                return
            }
            let isGone = Bool.random(using: &dice)
            if isGone { objects[store]?.remove("manifest \(held.generation)") }
            note("the manifest of \(taken.commit.sequence) in \(store) is \(isGone ? "missing" : "damaged")")
            try await fixture.catalog.mark(
                .manifest, of: link.number, store: store, generation: held.generation,
                as: isGone ? .missing : .damaged, isHashed: true, now: now)
        }
    }

    func goodCopies(of pack: PackID, _ image: CatalogImage) -> [CatalogImage.Copy] {
        image.packs[pack, default: []].filter {
            $0.isPresent && !$0.isCondemned && objects[$0.store]?.contains($0.name) == true
        }
    }

    /// What is bad in any store is brought there again.
    func repair() throws {
        let image = try catalogImage()
        let bad = packs.flatMap { image.packs[$0, default: []].filter { !$0.isPresent } }
        added = bad.map { copy(pack: $0.number, to: $0.store) }
        for taken in snapshots {
            let places = image.snapshots[taken.commit.snapshot]?.places ?? [:]
            for store in stores where places[store]?.isSound == false {
                added.append(contentsOf: copy(taken.commit.snapshot, to: store))
            }
        }
    }
}
