import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// The stores: whether they answer, what they lack, and how they grow.
extension Coordinator {
    func storesPage(_ call: Call) async throws -> Response {
        let now = clock.now()
        let stores = try await storeStatuses()
        let page = Page("Stores", in: .stores) {
            PageParts.heading("Stores")
            PageParts.table(
                "Stores and what they lack",
                [
                    .text("Store"), .text("Health"), .text("Placement"), .text("Site"), .number("Free"),
                    .number("Copies to come"), .number("Bad replicas"), .text("Place"),
                ],
                rows: stores.map { store in
                    [
                        PageParts.name(store.name),
                        StoreParts.badge(store),
                        .text(store.placement),
                        PageParts.name(store.site.isEmpty ? "its own" : store.site),
                        .text(store.freeBytes > 0 ? PageText.bytes(Int64(clamping: store.freeBytes)) : "–"),
                        .text(PageText.grouped(Int(clamping: store.wantedCopies))),
                        .text(PageText.grouped(Int(clamping: store.badReplicas))),
                        tag("code") { store.url },
                    ]
                })
            for store in stores where !store.reason.isEmpty || store.state != "ok" {
                tag("div", .class("notice warning"), .of(.role, "note")) {
                    tag("p") {
                        PageParts.name(store.name)
                        ": " + (store.state != "ok" ? store.state : "a copy is not there yet: \(store.reason)")
                    }
                }
            }
        }
        return page.response(for: call.session, now: now)
    }
}

/// What is told of a store.
enum StoreParts {
    static func badge(_ store: Muster_V1_StoreStatus) -> HTML {
        if store.state != "ok" { return PageParts.badge(.bad, "away") }
        if store.badReplicas > 0 {
            return PageParts.badge(.bad, PageText.count(Int(clamping: store.badReplicas), "bad replica"))
        }
        if store.wantedCopies > 0 { return PageParts.badge(.warning, "behind") }
        return PageParts.badge(.good, store.placement == "active" ? "good" : store.placement)
    }
}
