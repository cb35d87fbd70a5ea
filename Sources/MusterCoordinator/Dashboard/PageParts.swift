import MusterModel

/// What several pages are made of.
enum PageParts {
    struct Column {
        let title: String
        var isNumber = false

        static func text(_ title: String) -> Column { Column(title: title) }
        static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
    }

    /// A table whose first cell of each row names the row.
    ///
    /// - Parameter isCaptionShown: false where the heading above says the same; then it is there for screen readers.
    static func table(
        _ caption: String, _ columns: [Column], isCaptionShown: Bool = false, rows: [[HTML]]
    ) -> HTML {
        tag("div", .class("scroll"), .of(.role, "region"), .of(.tabindex, "0"), .label(caption)) {
            tag("table") {
                tag("caption", .class(isCaptionShown ? "shown" : "aside")) { caption }
                tag("thead") {
                    tag("tr") {
                        for column in columns {
                            tag("th", .of(.scope, "col"), .class(column.isNumber ? "number" : "")) { column.title }
                        }
                    }
                }
                tag("tbody") { for row in rows { tableRow(row, columns) } }
            }
        }
    }

    private static func tableRow(_ cells: [HTML], _ columns: [Column]) -> HTML {
        tag("tr") {
            for (index, cell) in cells.enumerated() {
                let isNumber = index < columns.count && columns[index].isNumber
                if index == 0 {
                    tag("th", .of(.scope, "row"), .class(isNumber ? "number" : "")) { cell }
                } else {
                    tag("td", .class(isNumber ? "number" : "")) { cell }
                }
            }
        }
    }

    /// Names with their values.
    static func facts(_ facts: [(String, HTML)]) -> HTML {
        tag("dl", .class("facts")) {
            for (name, value) in facts {
                tag("div") {
                    tag("dt") { name }
                    tag("dd") { value }
                }
            }
        }
    }

    /// A name that a person or a node chose: it is kept apart from what stands around it, whichever way it is written.
    static func name(_ text: String) -> HTML { tag("bdi") { text } }

    /// What to do, in which a flag of a command is not broken after its dashes.
    static func hint(_ text: String) -> HTML {
        HTML.joined(
            text.split(separator: " ", omittingEmptySubsequences: false).enumerated().map { index, word in
                let space = HTML.text(index > 0 ? " " : "")
                guard word.hasPrefix("--") else { return HTML.joined([space, .text(String(word))]) }
                return HTML.joined([space, tag("span", .class("flag")) { String(word) }])
            })
    }

    static func link(_ path: PagePath, _ text: String) -> HTML { tag("a", .href(path)) { name(text) } }

    /// The beginning of an id; all of it is shown on the page of what it names.
    static func shortID(_ text: String) -> HTML {
        tag("code", .of(.title, text)) { String(text.prefix(12)) }
    }

    static func time(_ moment: Timestamp) -> HTML {
        tag("time", .of(.datetime, moment.description)) { PageText.moment(moment) }
    }

    /// How long ago, with the moment itself.
    static func ago(_ moment: Timestamp?, now: Timestamp, never: String = "never") -> HTML {
        guard let moment else { return tag("span", .class("muted")) { never } }
        return tag("time", .of(.datetime, moment.description), .of(.title, PageText.moment(moment))) {
            PageText.ago(moment, now: now)
        }
    }

    /// A word in colour with a sign in front: the colour is never the only difference.
    static func badge(_ tone: Tone, _ text: String) -> HTML {
        tag("span", .class("badge \(tone.rawValue)")) {
            tag("span", .hidden) { tone.sign }
            tag("span") { text }
        }
    }

    enum Tone: String {
        case good, calm, warning, bad, idle

        var sign: String {
            switch self {
            case .good: "✓"
            case .calm: "?"
            case .warning: "~"
            case .bad: "!"
            case .idle: "–"
            }
        }
    }

    static func progress(_ done: Int, of whole: Int, _ tone: Tone = .calm, label: String) -> HTML {
        tag(
            "progress", .class(tone.rawValue), .of(.max, String(max(1, whole))), .of(.value, String(done)),
            .label(label)
        ) { PageText.share(done, of: whole) }
    }

    /// Links to the pages of a list before and after this one.
    static func pager(_ what: String, previous: PagePath?, next: PagePath?, place: String) -> HTML {
        guard previous != nil || next != nil else { return HTML() }
        return tag("nav", .class("pager"), .label(what)) {
            if let previous { tag("a", .href(previous), .of(.rel, "prev")) { "← Previous" } }
            tag("span") { place }
            if let next { tag("a", .href(next), .of(.rel, "next")) { "Next →" } }
        }
    }

    /// What a list leaves out, and who tells all of it.
    static func more(_ count: Int, _ command: String) -> HTML {
        guard count > 0 else { return HTML() }
        return tag("p", .class("muted")) {
            "And \(PageText.grouped(count)) more: see "
            tag("code") { command }
            "."
        }
    }

    static func empty(_ text: String) -> HTML { tag("p", .class("empty")) { text } }

    static func section(_ title: String, id: String, @HTMLBuilder content: () throws -> HTML) rethrows -> HTML {
        let body = try content()
        return tag("section", .of(.ariaLabelledBy, id)) {
            tag("h2", .id(id)) { title }
            body
        }
    }

    static func heading(_ title: String, under trail: [(PagePath, String)] = [], badge: HTML? = nil) -> HTML {
        tag("div", .class("heading")) {
            if !trail.isEmpty {
                tag("nav", .class("trail"), .label("Where this page is")) {
                    tag("ol") { for (path, text) in trail { tag("li") { link(path, text) } } }
                }
            }
            tag("h1") { name(title) }
            if let badge { badge }
        }
    }
}
