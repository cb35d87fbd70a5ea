import MusterModel

/// A drawing of values over time, as SVG: it says in words what it shows, and each value can be read at its mark.
struct Chart {
    struct Point: Hashable {
        /// What is more than this comes of a clock that is off, or of a bug.
        private static let largest = 1e15

        let at: Timestamp
        let value: Double

        init(at moment: Timestamp, value: Double) {
            at = moment
            self.value = value.isNaN ? 0 : min(max(0, value), Self.largest)
        }
    }

    struct Series {
        enum Kind { case line, bars }
        let name: String
        let kind: Kind
        let points: [Point]
    }

    private static let width = 480.0
    private static let height = 200.0
    private static let (left, right, top, bottom) = (72.0, 10.0, 10.0, 26.0)
    /// With more of them the line is enough.
    private static let mostMarks = 80

    /// Part of the ids in the document: one word, once on a page.
    let id: String
    let title: String
    let quantity: ChartQuantity
    /// One or two; each in a colour and, where they are lines, a stroke of its own.
    let series: [Series]

    /// The chart, or a sentence where there is too little for one.
    func drawing() -> HTML {
        let points = series.flatMap(\.points)
        guard points.count > 1 else {
            return figure { tag("p", .class("empty")) { "There is no history to draw yet." } }
        }
        let time = TimeAxis(points.map(\.at))
        let ticks = quantity.ticks(upTo: points.map(\.value).max() ?? 0)
        let frame = Frame(time: time, largest: ticks.last ?? 1)
        return figure {
            tag(
                "svg", .class("chart"), .of(.viewBox, "0 0 \(Int(Self.width)) \(Int(Self.height))"), .of(.role, "img"),
                .of(.ariaLabelledBy, "\(id)-title"), .of(.ariaDescribedBy, "\(id)-text")
            ) {
                tag("title", .id("\(id)-title")) { title }
                tag("desc", .id("\(id)-text")) { description }
                for tick in ticks { gridLine(tick, frame) }
                for tick in time.ticks { timeMark(tick.place, tick.text) }
                for (index, series) in series.enumerated() { drawing(of: series, number: index + 1, frame) }
            }
        }
    }

    private func figure(@HTMLBuilder content: () -> HTML) -> HTML {
        tag("figure", .class("chart-box")) {
            tag("figcaption") {
                tag("span", .class("name")) { title }
                if series.count > 1 {
                    for (index, series) in series.enumerated() {
                        tag("span", .class("key key-\(index + 1)")) { series.name }
                    }
                }
            }
            content()
        }
    }

    /// What a person who does not see it should know.
    private var description: String {
        series.filter { !$0.points.isEmpty }.map { series in
            let values = series.points.map(\.value)
            let (least, most) = (values.min() ?? 0, values.max() ?? 0)
            return "\(series.name): \(PageText.count(values.count, "value")), newest "
                + "\(quantity.text(values.last ?? 0)), least \(quantity.text(least)), most \(quantity.text(most))."
        }.joined(separator: " ")
    }

    private struct Frame {
        let time: TimeAxis
        let largest: Double

        func x(_ moment: Timestamp) -> Double { left + time.place(moment) * (width - left - right) }
        func y(_ value: Double) -> Double {
            let share = largest > 0 ? min(1, max(0, value / largest)) : 0
            return height - bottom - share * (height - top - bottom)
        }
    }

    private func gridLine(_ tick: Double, _ frame: Frame) -> HTML {
        let y = frame.y(tick)
        return tag("g") {
            tag(
                "line", .class(tick == 0 ? "axis" : "grid"), .number(.x1, Self.left), .number(.y1, y),
                .number(.x2, Self.width - Self.right), .number(.y2, y)
            ) {}
            tag("text", .of(.textAnchor, "end"), .number(.x, Self.left - 6), .number(.y, y + 4)) {
                quantity.text(tick)
            }
        }
    }

    private func timeMark(_ place: Double, _ text: String) -> HTML {
        let x = Self.left + place * (Self.width - Self.left - Self.right)
        let anchor = place == 0 ? "start" : place == 1 ? "end" : "middle"
        return tag("text", .of(.textAnchor, anchor), .number(.x, x), .number(.y, Self.height - 8)) { text }
    }

    private func drawing(of series: Series, number: Int, _ frame: Frame) -> HTML {
        switch series.kind {
        case .bars:
            tag("g", .class("bars series-\(number)")) { for point in series.points { bar(point, series, frame) } }
        case .line:
            tag("g", .class("line series-\(number)")) {
                tag("path", .class("stroke"), .of(.d, Self.path(series.points, frame))) {}
                if series.points.count <= Self.mostMarks {
                    for point in series.points {
                        tag(
                            "circle", .number(.cx, frame.x(point.at)), .number(.cy, frame.y(point.value)),
                            .of(.r, "2.5")
                        ) { tag("title") { text(point, series) } }
                    }
                }
            }
        }
    }

    private static func path(_ points: [Point], _ frame: Frame) -> String {
        points.enumerated().map { index, point in
            (index == 0 ? "M" : "L") + SVGNumber.text(frame.x(point.at)) + " " + SVGNumber.text(frame.y(point.value))
        }.joined()
    }

    private func bar(_ point: Point, _ series: Series, _ frame: Frame) -> HTML {
        let room = (Self.width - Self.left - Self.right) / Double(max(1, series.points.count))
        let width = min(12, max(1.5, room * 0.7))
        let y = frame.y(point.value)
        // Half of the first and the last one would stand outside.
        let x = min(Self.width - Self.right - width, max(Self.left, frame.x(point.at) - width / 2))
        return tag(
            "rect", .number(.x, x), .number(.y, y), .number(.width, width),
            .number(.height, max(point.value > 0 ? 1 : 0, Self.height - Self.bottom - y))
        ) { tag("title") { text(point, series) } }
    }

    private func text(_ point: Point, _ series: Series) -> String {
        "\(series.name): \(quantity.text(point.value)), \(PageText.moment(point.at))"
    }
}
