import Foundation
import Logging
import MusterModel
import MusterSQLite
import Synchronization

/// Keeps the board true: to the configuration, and to the files that its patterns find.
///
/// One loop takes in what has changed, one thing after the other: a new configuration, a sweep's outcome, what the
/// folder watch tells. The watch makes it quick, a full sweep from time to time makes it true. A sweep runs beside
/// the loop: one that hangs on a dead disk holds up no reload.
final class Roster: Sendable {
    /// A full sweep comes that often, and takes no more than this part of the time.
    private static let sweepPeriod = Duration.seconds(60)
    private static let sweepShare = 200
    /// After events were lost, a sweep comes sooner, but no sooner than this after the one before, and it takes no
    /// more than this part of the time.
    private static let shortestPause = Duration.seconds(5)
    private static let urgentShare = 20
    /// More names at once are no shorter than a sweep.
    private static let mostNames = 2000
    private static let mostNotes = 20

    private struct Inbox {
        var configuration: (AgentConfiguration, FileVersion)?
        var outcome: PatternSweep.Outcome?
        var names: Set<FilePath> = []
        var isIncomplete = false
    }

    /// What the loop knows; nobody else sees it.
    private struct Knowledge {
        var book: DiscoveryBook
        var patterns: [DatabasePattern]
        /// Folders whose entries matter.
        var folders: Set<String> = []
        var candidates: [FilePath: FileStatus] = [:]
        var sweepIsDueAt: Duration
        /// How long the newest full sweep took.
        var sweepTime = Duration.zero
        var names: Set<FilePath> = []
        var isSweeping = false
        var notes: [String] = []
    }

    let board: DatabaseBoard
    private let book: DiscoveryBook
    private let patterns: [DatabasePattern]
    private let directory: AgentDirectory
    private let state: AgentState
    private let watch: FolderWatch?
    /// Who else needs folders to be watched.
    private let wakes: WakeWatch
    private let environment: AgentEnvironment
    /// One sweep at a time; a dead disk holds up this thread and no other.
    private let files = BlockingPool(label: "muster-search", width: 1)
    private let inbox = Mutex(Inbox())
    /// Files that match and are no databases yet: worth a look when they are written to.
    private let awaited = Mutex<Set<FilePath>>([])
    private let bell = Bell()

    init(
        directory: AgentDirectory, configuration: AgentConfiguration, state: AgentState, watch: FolderWatch?,
        wakes: WakeWatch, environment: AgentEnvironment, onLeave: @escaping DatabaseBoard.OnLeave
    ) throws {
        (self.directory, self.state, self.watch, self.wakes) = (directory, state, watch, wakes)
        self.environment = environment
        var book = DiscoveryBook(try state.discovered(), configuration)
        try state.keep(book.use(configuration).rows)
        (self.book, patterns) = (book, configuration.patterns)
        board = DatabaseBoard(book.databases, onLeave: onLeave)
    }

    /// The configuration was read again; it is noted as applied once the agent works by it.
    func use(_ configuration: AgentConfiguration, _ version: FileVersion) {
        inbox.withLock { $0.configuration = (configuration, version) }
        bell.ring()
    }

    /// From any thread.
    func note(_ changes: FolderChanges) {
        let written = awaited.withLock { $0.isEmpty ? [] : $0.intersection(changes.written) }
        guard !changes.appeared.isEmpty || !written.isEmpty || changes.isIncomplete else { return }
        inbox.withLock { inbox in
            inbox.isIncomplete = inbox.isIncomplete || changes.isIncomplete
            inbox.names.formUnion(changes.appeared.filter { !$0.isBesideADatabase })
            inbox.names.formUnion(written)
            if inbox.names.count > Self.mostNames { (inbox.names, inbox.isIncomplete) = ([], true) }
        }
        bell.ring()
    }

    // MARK: - The loop

    /// Returns when it is cancelled.
    func run() async throws {
        var knowledge = Knowledge(book: book, patterns: patterns, sweepIsDueAt: environment.monotonic())
        let isOver = Flag()
        try await withThrowingDiscardingTaskGroup { group in
            // A sweep may have far to go still when the agent ends.
            defer { isOver.raise() }
            while !Task.isCancelled {
                let news = inbox.withLock { inbox in
                    defer { inbox = Inbox() }
                    return inbox
                }
                await take(news, &knowledge)
                if !knowledge.patterns.isEmpty, !knowledge.isSweeping, let sweep = next(&knowledge) {
                    knowledge.isSweeping = true
                    group.addTask { await self.carryOut(sweep, unless: isOver) }
                }
                let (sleep, pause) = (environment.sleep, pause(knowledge))
                await bell.wait { try await sleep(pause) }
            }
        }
    }

    /// Without patterns there is nothing to look for, and no reason to wake up.
    private func pause(_ knowledge: Knowledge) -> Duration {
        guard !knowledge.patterns.isEmpty, !knowledge.isSweeping else { return .seconds(86_400) }
        return max(.zero, knowledge.sweepIsDueAt - environment.monotonic())
    }

    private func take(_ news: Inbox, _ knowledge: inout Knowledge) async {
        if let (configuration, version) = news.configuration { await use(configuration, version, &knowledge) }
        knowledge.names.formUnion(news.names)
        if news.isIncomplete || knowledge.names.count > Self.mostNames {
            knowledge.names = []
            let pause = max(Self.shortestPause, knowledge.sweepTime * Self.urgentShare)
            knowledge.sweepIsDueAt = min(knowledge.sweepIsDueAt, environment.monotonic() + pause)
        }
        if let outcome = news.outcome {
            knowledge.isSweeping = false
            await take(outcome, &knowledge)
        }
    }

    private func use(
        _ configuration: AgentConfiguration, _ version: FileVersion, _ knowledge: inout Knowledge
    ) async {
        var book = knowledge.book
        do {
            try state.keep(book.use(configuration).rows)
        } catch {
            return failed("configuration not reloaded", error)
        }
        (knowledge.book, knowledge.patterns) = (book, configuration.patterns)
        knowledge.sweepIsDueAt = environment.monotonic()
        await board.replace(with: book.databases)
        if knowledge.patterns.isEmpty { knowledge.folders = [] }
        keepWatch(over: knowledge.folders)
        noteApplied(version)
        environment.logger.info("configuration reloaded", metadata: ["databases": "\(board.databases.count)"])
    }

    private func failed(_ what: Logger.Message, _ error: any Error) {
        let reason = (error as? any ActionableError)?.summary ?? "\(error)"
        environment.logger.error(what, metadata: ["reason": "\(reason)"])
    }

    /// The agent works by this version of the configuration.
    func noteApplied(_ version: FileVersion) {
        do {
            try directory.noteApplied(version)
        } catch {
            // Only whoever waits for it needs it, and is told that it did not come.
            failed("applied configuration not noted", error)
        }
    }

    // MARK: - Sweeps

    private struct Sweep: Sendable {
        let sweep: @Sendable (_ isOver: Flag) -> PatternSweep.Outcome
    }

    /// What to look at now: everything, some names, or nothing.
    private func next(_ knowledge: inout Knowledge) -> Sweep? {
        let now = environment.monotonic()
        let isFull = now >= knowledge.sweepIsDueAt
        guard isFull || !knowledge.names.isEmpty else { return nil }
        let names = isFull ? [] : knowledge.names.sorted()
        knowledge.names = []
        // A full one that hangs is not followed by another.
        if isFull { knowledge.sweepIsDueAt = now + Self.sweepPeriod }
        let (patterns, known, folders) = (knowledge.patterns, knowledge.book.present, knowledge.folders)
        let (candidates, own, watch) = (knowledge.candidates, ownFolders, watch)
        return Sweep { isOver in
            var sweep = PatternSweep(
                patterns: patterns, excluded: own, known: known, knownFolders: folders, candidates: candidates,
                willRead: { watch?.add($0) }, shouldStop: { isOver.isRaised })
            if isFull { sweep.run() } else { sweep.look(at: names) }
            var outcome = sweep.outcome
            outcome.isFull = isFull
            return outcome
        }
    }

    /// A pattern that reaches into the agent's own directory must not make it back itself up.
    private var ownFolders: Set<String> {
        let path =
            directory.path.count > 1 && directory.path.hasSuffix("/")
            ? String(directory.path.dropLast()) : directory.path
        return [path, URL(filePath: path).resolvingSymlinksInPath().path(percentEncoded: false)]
    }

    private func carryOut(_ sweep: Sweep, unless isOver: Flag) async {
        let began = environment.monotonic()
        // Nothing in it throws.
        guard var outcome = try? await files.run({ sweep.sweep(isOver) }) else { return }
        outcome.duration = environment.monotonic() - began
        inbox.withLock { $0.outcome = outcome }
        bell.ring()
    }

    private func take(_ outcome: PatternSweep.Outcome, _ knowledge: inout Knowledge) async {
        if outcome.isFull {
            (knowledge.candidates, knowledge.folders) = (outcome.candidates, outcome.folders)
            knowledge.sweepTime = outcome.duration
            knowledge.sweepIsDueAt =
                environment.monotonic() + max(Self.sweepPeriod, outcome.duration * Self.sweepShare)
            keepWatch(over: outcome.folders)
            report(outcome, &knowledge)
        } else {
            knowledge.folders.formUnion(outcome.folders)
            knowledge.candidates.merge(outcome.candidates) { $1 }
            for path in outcome.found.keys { knowledge.candidates[path] = nil }
        }
        awaited.withLock { $0 = Set(knowledge.candidates.keys) }
        // The patterns may have changed while the sweep was under way.
        let patterns = knowledge.patterns
        let found = outcome.found.keys.reduce(into: [FilePath: Int]()) { found, path in
            found[path] = patterns.firstIndex { $0.covers(path.description) }
        }
        // An id that is not kept must not be used: after a restart the database would have another one.
        var book = knowledge.book
        let changes = book.take(
            found: found, missing: outcome.missing, now: environment.clock.now(), random: environment.random)
        do {
            try state.keep(changes.rows, droppingDiscovered: changes.forgotten)
        } catch {
            return failed("found databases not kept; they are looked for again", error)
        }
        knowledge.book = book
        await put(changes, book)
    }

    private func put(_ changes: DiscoveryBook.Changes, _ book: DiscoveryBook) async {
        guard !changes.isEmpty else { return }
        let databases = changes.rows.map { ($0, book.database($0)) }
        await board.apply(
            put: databases.compactMap(\.1),
            remove: changes.forgotten + databases.filter { $0.1 == nil }.map(\.0.id))
        tell(changes)
    }

    private func keepWatch(over folders: Set<String>) {
        guard let watch else { return }
        // In this order: one that is watched from now on is not among them.
        let watched = watch.folders
        let wanted = folders.union(wakes.folders)
        for folder in watched where !wanted.contains(folder) { watch.remove(folder) }
        // One that was armed meanwhile found its folder watched.
        for folder in wakes.folders where !watch.isWatched(folder) { watch.add(folder) }
        if watch.takeIsFull() {
            environment.logger.warning(
                "the system has no room for more folder watches; changes there are found by sweeps alone",
                metadata: ["hint": "Raise fs.inotify.max_user_watches."])
        }
    }

    private func tell(_ changes: DiscoveryBook.Changes) {
        for row in changes.rows {
            let what: Logger.Message = row.vanishedAt == nil ? "database found" : "database vanished"
            environment.logger.info(what, metadata: ["database": "\(row.name)", "path": "\(row.path)"])
        }
    }

    /// What keeps a sweep from being complete goes to the log, and to the file that 'database list' shows.
    private func report(_ outcome: PatternSweep.Outcome, _ knowledge: inout Knowledge) {
        var notes = [outcome.limitHit].compactMap { $0 }
        notes += outcome.unreadable.prefix(Self.mostNotes).map { "folder '\($0.folder)' cannot be read: \($0.reason)" }
        if outcome.unreadable.count > Self.mostNotes {
            notes.append("\(outcome.unreadable.count - Self.mostNotes) more folders cannot be read")
        }
        guard notes != knowledge.notes else { return }
        knowledge.notes = notes
        for note in notes {
            environment.logger.error("not every database can be found", metadata: ["reason": "\(note)"])
        }
        do {
            try PrivateFile.write(notes.joined(separator: "\n"), to: directory.searchNotesFile)
        } catch {
            failed("search notes not written", error)
        }
    }
}
