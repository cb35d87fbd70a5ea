import CCurl

/// The transfers of one loop: those that libcurl works on and those that wait for a connection.
struct TransferTable {
    /// The requests to one server, in the order they came.
    private struct Lane {
        var activeCount = 0
        var waiting: [Transfer] = []
    }

    private let multi: MultiHandle
    private let tls: TLSFiles
    private let settings: HTTPClient.Settings
    private var transfers: [UInt64: Transfer] = [:]
    private var idsByHandle: [EasyHandle.Key: UInt64] = [:]
    private var lanes: [String: Lane] = [:]

    init(multi: MultiHandle, tls: TLSFiles, settings: HTTPClient.Settings) {
        (self.multi, self.tls, self.settings) = (multi, tls, settings)
    }

    mutating func add(_ transfer: Transfer) {
        let waitingCount = lanes[transfer.server]?.waiting.count ?? 0
        guard waitingCount < settings.maximumWaiting else {
            return transfer.finish(.overloaded(server: transfer.server, waiting: waitingCount))
        }
        transfers[transfer.id] = transfer
        lanes[transfer.server, default: Lane()].waiting.append(transfer)
    }

    /// Does nothing if it is already over: ids are never used again.
    mutating func cancel(_ id: UInt64) {
        guard let transfer = transfers[id] else { return }
        remove(transfer)
        transfer.finish(.cancelled(server: transfer.server))
    }

    mutating func resume(_ id: UInt64) {
        guard let transfer = transfers[id], let easy = transfer.easy else { return }
        do {
            try easy.unpause()
        } catch {
            remove(transfer)
            transfer.finish(TransferError(code: error.code, detail: easy.failureText, server: transfer.server))
        }
    }

    /// Gives free connections to those who wait.
    mutating func startWaiting() {
        for server in lanes.keys {
            while let transfer = nextToStart(in: server) {
                do {
                    try start(transfer)
                } catch {
                    remove(transfer)
                    transfer.finish(error)
                }
            }
        }
    }

    /// - Returns: how many transfers were over and are done with.
    mutating func finishDone() -> Int {
        var count = 0
        while let (key, code) = multi.nextDone() {
            guard let id = idsByHandle[key], let transfer = transfers[id] else { continue }
            let failureText = transfer.easy?.failureText ?? ""
            remove(transfer)
            transfer.finish(code: code, failureText: failureText)
            count += 1
        }
        return count
    }

    /// Takes every transfer out, in no order.
    mutating func removeAll() -> [Transfer] {
        let all = Array(transfers.values)
        for transfer in all { remove(transfer) }
        return all
    }

    private func nextToStart(in server: String) -> Transfer? {
        guard let lane = lanes[server], lane.activeCount < settings.maximumConnections else { return nil }
        return lane.waiting.first
    }

    private mutating func start(_ transfer: Transfer) throws(TransferError) {
        let easy: EasyHandle
        do {
            easy = try transfer.makeHandle(tls: tls, settings: settings)
        } catch {
            throw TransferError(code: error.code, detail: "", server: transfer.server)
        }
        do {
            try multi.add(easy)
        } catch {
            throw error.error
        }
        lanes[transfer.server]?.waiting.removeFirst()
        lanes[transfer.server]?.activeCount += 1
        idsByHandle[easy.key] = transfer.id
        transfer.easy = easy
    }

    private mutating func remove(_ transfer: Transfer) {
        transfers[transfer.id] = nil
        if let easy = transfer.easy {
            idsByHandle[easy.key] = nil
            lanes[transfer.server]?.activeCount -= 1
            multi.remove(easy)
            transfer.easy = nil
        } else {
            lanes[transfer.server]?.waiting.removeAll { $0.id == transfer.id }
        }
        if let lane = lanes[transfer.server], lane.activeCount == 0, lane.waiting.isEmpty {
            lanes[transfer.server] = nil
        }
    }
}
