import CCurl
import Glibc
import Synchronization

/// The thread that owns libcurl: commands come in by an inbox, results leave through each transfer.
///
/// | who | may |
/// |---|---|
/// | any thread | put a command into the inbox, under its lock, and wake the thread |
/// | the loop's thread | all else: it alone calls libcurl and touches transfers |
///
/// Every transfer that was submitted is finished exactly once: at its end, by
/// `cancel`, or when the loop closes. After `stop` was accepted nothing else
/// is, so none can slip in behind it. Where libcurl itself fails, the transfers
/// under way fail with it, and the loop goes on with a new handle after a pause:
/// whoever keeps the client for months does not notice that it once broke.
final class TransferLoop: Sendable {
    private enum Command {
        case submit(Transfer)
        case cancel(UInt64)
        case resume(UInt64)
        case stop
    }

    private struct Inbox {
        var commands: [Command] = []
        var isStopped = false
        /// Taken away when the loop closes, so that its connections close then, and while it rests.
        var multi: MultiHandle?
    }

    private let inbox: Mutex<Inbox>
    private let tls: TLSFiles
    private let settings: HTTPClient.Settings
    private let perform: Perform

    typealias Perform = @Sendable (MultiHandle) throws(MultiFailure) -> Void

    /// - Parameter perform: libcurl's step; tests let it fail.
    init(
        tls: TLSFiles, settings: HTTPClient.Settings,
        perform: @escaping Perform = { multi throws(MultiFailure) in try multi.perform() }
    ) throws(TransferError) {
        (self.tls, self.settings, self.perform) = (tls, settings, perform)
        do {
            let multi = try MultiHandle(maximumConnectionsPerServer: settings.maximumConnections)
            inbox = Mutex(Inbox(multi: multi))
        } catch {
            throw error.error
        }
    }

    /// Starts the thread, which keeps the loop alive until `stop`; if it cannot, the loop is closed.
    ///
    /// Not Foundation's `Thread`: that does not tell when the system refuses a thread, and requests would wait for ever.
    ///
    /// - Parameter stackBytes: nil for the system's choice.
    func start(stackBytes: Int? = nil) throws(TransferError) {
        var attributes = pthread_attr_t()
        var code = unsafe pthread_attr_init(&attributes)
        precondition(code == 0, "a thread cannot be described")
        defer { unsafe pthread_attr_destroy(&attributes) }
        code = unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        if let stackBytes, code == 0 { code = unsafe pthread_attr_setstacksize(&attributes, stackBytes) }
        if code == 0 {
            var thread = pthread_t()
            let loop = unsafe Unmanaged.passRetained(self)
            code = unsafe pthread_create(
                &thread, &attributes,
                { context in
                    guard let context = unsafe context else { return nil }
                    unsafe Unmanaged<TransferLoop>.fromOpaque(context).takeRetainedValue().run()
                    return nil
                }, loop.toOpaque())
            // Only a thread that runs takes the reference.
            if code != 0 { unsafe loop.release() }
        }
        guard code == 0 else {
            for case .submit(let transfer) in shut() { transfer.finish(.shutDown(server: transfer.server)) }
            throw .exhausted(detail: unsafe "no thread: \(String(cString: strerror(code)))")
        }
    }

    func submit(_ transfer: Transfer) {
        if !post(.submit(transfer)) { transfer.finish(.shutDown(server: transfer.server)) }
    }

    // After `stop` there is nothing left to cancel, resume or stop.
    func cancel(_ id: UInt64) { _ = post(.cancel(id)) }
    func resume(_ id: UInt64) { _ = post(.resume(id)) }
    func stop() { _ = post(.stop) }

    private func post(_ command: Command) -> Bool {
        inbox.withLock { inbox in
            guard !inbox.isStopped else { return false }
            if case .stop = command { inbox.isStopped = true }
            inbox.commands.append(command)
            inbox.multi?.wakeUp()
            return true
        }
    }

    // MARK: On the loop's thread

    private func run() {
        Self.blockBrokenPipeSignal()
        var failuresInARow = 0
        while let multi = currentMulti(failuresInARow) {
            var table = TransferTable(multi: multi, tls: tls, settings: settings)
            do {
                try work(multi, &table, &failuresInARow)
                return close(&table)
            } catch {
                failuresInARow += 1
                inbox.withLock { $0.multi = nil }
                for transfer in table.removeAll() { transfer.finish(error.error) }
            }
        }
        for case .submit(let transfer) in shut() { transfer.finish(.shutDown(server: transfer.server)) }
    }

    /// Returns after `stop`.
    private func work(
        _ multi: MultiHandle, _ table: inout TransferTable, _ failuresInARow: inout Int
    ) throws(MultiFailure) {
        while apply(takeCommands(), to: &table) {
            table.startWaiting()
            try perform(multi)
            // A transfer that ended may have freed a connection: look once more before sleeping.
            if table.finishDone() == 0 { try multi.wait() }
            failuresInARow = 0
        }
    }

    /// The one there is, or a new one after a pause that grows with the failures; nil after `stop`.
    private func currentMulti(_ failuresInARow: Int) -> MultiHandle? {
        if let multi = inbox.withLock({ $0.multi }) { return multi }
        var failuresInARow = failuresInARow
        while rest(after: failuresInARow) {
            do throws(MultiFailure) {
                let multi = try MultiHandle(maximumConnectionsPerServer: settings.maximumConnections)
                inbox.withLock { $0.multi = multi }
                return multi
            } catch {
                // What is missing now is waited for, but not by those who asked meanwhile. A `stop` among them is known.
                for case .submit(let transfer) in takeCommands() { transfer.finish(error.error) }
                failuresInARow += 1
            }
        }
        return nil
    }

    /// From a tenth of a second to some six. - Returns: false after `stop`.
    private func rest(after failuresInARow: Int) -> Bool {
        let stepMicroseconds: UInt32 = 100_000
        for _ in 0..<(1 << min(failuresInARow - 1, 6)) {
            if inbox.withLock({ $0.isStopped }) { return false }
            usleep(stepMicroseconds)
        }
        return true
    }

    private func takeCommands() -> [Command] {
        inbox.withLock { inbox in
            defer { inbox.commands = [] }
            return inbox.commands
        }
    }

    /// - Returns: false after `stop`, which is always the last command.
    private func apply(_ commands: [Command], to table: inout TransferTable) -> Bool {
        for command in commands {
            switch command {
            case .submit(let transfer): table.add(transfer)
            case .cancel(let id): table.cancel(id)
            case .resume(let id): table.resume(id)
            case .stop: return false
            }
        }
        return true
    }

    private func close(_ table: inout TransferTable) {
        // `stop` was the last command.
        _ = shut()
        for transfer in table.removeAll() { transfer.finish(.shutDown(server: transfer.server)) }
    }

    /// Lets no further command in. - Returns: those that nobody saw.
    private func shut() -> [Command] {
        inbox.withLock { inbox in
            inbox.isStopped = true
            inbox.multi = nil
            defer { inbox.commands = [] }
            return inbox.commands
        }
    }

    /// With CURLOPT_NOSIGNAL libcurl leaves SIGPIPE alone, so that a server that
    /// hangs up could end the process (CURLOPT_NOSIGNAL(3)).
    private static func blockBrokenPipeSignal() {
        var signals = sigset_t()
        let codes = unsafe [
            sigemptyset(&signals), sigaddset(&signals, SIGPIPE), pthread_sigmask(SIG_BLOCK, &signals, nil),
        ]
        precondition(codes == [0, 0, 0], "a signal cannot be blocked")
    }
}
