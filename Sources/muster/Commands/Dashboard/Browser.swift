import Foundation
import Glibc

/// Opens an address in the person's browser, where there is one.
enum Browser {
    /// Does nothing where there is no `xdg-open` or no screen; else this program becomes `xdg-open`, as its last act.
    ///
    /// The address is a secret, and everybody on the machine can read the arguments of a program: so it goes into a
    /// page in the person's own runtime folder, and that is what is opened.
    static func open(_ url: String) {
        let environment = ProcessInfo.processInfo.environment
        guard let folder = environment["XDG_RUNTIME_DIR"], !folder.isEmpty,
            ["DISPLAY", "WAYLAND_DISPLAY"].contains(where: { environment[$0]?.isEmpty == false }),
            let program = program(named: "xdg-open", in: environment["PATH"] ?? ""),
            let page = writePage(leadingTo: url, in: folder)
        else { return }
        // Returns only where it failed; the link was printed, so that nothing is lost by it.
        var arguments = [strdup(program), strdup(page), nil]
        execv(program, &arguments)
    }

    private static func program(named name: String, in path: String) -> String? {
        path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    private static func writePage(leadingTo url: String, in folder: String) -> String? {
        let path = folder + "/muster-dashboard.html"
        unlink(path)
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let escaped = url.replacing("&", with: "&amp;").replacing("\"", with: "&quot;").replacing("<", with: "&lt;")
        let page = "<!doctype html><title>Muster</title><meta http-equiv=\"refresh\" content=\"0; url=\(escaped)\">\n"
        let bytes = Array(page.utf8)
        return write(descriptor, bytes, bytes.count) == bytes.count ? path : nil
    }
}
