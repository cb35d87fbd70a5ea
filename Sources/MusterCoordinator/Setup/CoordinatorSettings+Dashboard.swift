/// `dashboard_listen`: where the dashboard is, or `never`.
extension CoordinatorSettings {
    /// Where it is if nothing is said: on the second port after the agents'.
    static func dashboard(beside listen: ListenAddress) -> ListenAddress? {
        guard listen.port != 0 else { return ListenAddress(host: listen.host, port: 0) }
        return listen.port + 2 <= 65_535 ? ListenAddress(host: listen.host, port: listen.port + 2) : nil
    }

    static func dashboard(_ text: String) throws(CoordinatorSetupError) -> ListenAddress? {
        text == "never" ? nil : try ListenAddress(text)
    }
}
