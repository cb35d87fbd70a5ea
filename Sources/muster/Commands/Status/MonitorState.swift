import MusterModel

/// What a monitor makes of a check: Nagios, Icinga and those that took over their plug-ins go by the exit status.
///
/// The guidelines are at monitoring-plugins.org/doc/guidelines.html: one line, its first word the service, its second
/// the state, and 3 whenever the check itself did not come to an answer.
enum MonitorState: Int32 {
    case ok = 0
    case warning, critical, unknown

    /// What the worst alarm that stands comes to.
    init(worst severity: AlarmSeverity?) {
        switch severity {
        case nil, .info: self = .ok
        case .warning: self = .warning
        case .critical: self = .critical
        }
    }

    private var word: String {
        switch self {
        case .ok: "OK"
        case .warning: "WARNING"
        case .critical: "CRITICAL"
        case .unknown: "UNKNOWN"
        }
    }

    /// Whatever is in the text, it stays one line, and what follows a bar stays figures.
    func line(_ text: String, figures: [String] = []) -> String {
        let plain = text.split(whereSeparator: \.isNewline).joined(separator: " ").replacing("|", with: "/")
        return "MUSTER \(word) - \(plain)" + (figures.isEmpty ? "" : " | " + figures.joined(separator: " "))
    }
}
