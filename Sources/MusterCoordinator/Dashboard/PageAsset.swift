import MusterModel

/// A file that pages refer to: it is part of the program, and its name changes with its content, so that browsers keep it.
struct PageAsset: Sendable {
    let name: String
    let type: String
    let text: String

    static let style = PageAsset("muster", "css", "text/css; charset=utf-8", Stylesheet.text)
    static let icon = PageAsset("icon", "svg", "image/svg+xml", Stylesheet.icon)
    static let all = [style, icon]

    var path: PagePath { PagePath("assets", name) }

    private init(_ name: String, _ ending: String, _ type: String, _ text: String) {
        let hash = Hex.encode(Coordinator.hash(Array(text.utf8)).prefix(8))
        self.name = "\(name)-\(hash).\(ending)"
        (self.type, self.text) = (type, text)
    }
}
