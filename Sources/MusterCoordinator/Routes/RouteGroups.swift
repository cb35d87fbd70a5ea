import Hummingbird

/// Routes that belong together, each with its call.
extension Coordinator {
    /// How a node comes by its certificate, and others by what opens what it sealed.
    func answerOnIdentity(_ call: Call) async throws -> Response {
        switch call.rule.route {
        case .join: try await join(call)
        case .renew: try await renew(call)
        case .sendKeys: try await sendKeys(call)
        default: throw Refusal.noRoute
        }
    }

    /// What is kept, for how long, by whose word.
    func answerOnRetention(_ call: Call) async throws -> Response {
        switch call.rule.route {
        case .showRetention: try await showRetention(call)
        case .setRetention: try await setRetention(call)
        case .previewRetention: try await previewRetention(call)
        case .applyRetention: try await applyRetention(call)
        case .undoRetention: try await undoRetention(call)
        case .holdSnapshots: try await holdSnapshots(call)
        case .releaseSnapshots: try await releaseSnapshots(call)
        case .forgetSnapshots: try await forgetSnapshots(call)
        default: throw Refusal.noRoute
        }
    }

    /// What nodes are to do, and how far they are.
    func answerOnOrders(_ call: Call) async throws -> Response {
        switch call.rule.route {
        case .createSnapshots: try await createSnapshots(call)
        case .showJob: try await showJob(call)
        case .restore, .grantRestore: try await restore(call)
        case .showRestore: try await showRestore(call)
        case .cancelRestore: try await cancelRestore(call)
        case .restoreProgress: try await noteProgress(call)
        default: throw Refusal.noRoute
        }
    }

    func answerOnStores(_ call: Call) async throws -> Response {
        switch call.rule.route {
        case .addStore: try await addStore(call)
        case .changeStore: try await changeStore(call)
        case .probeStore: try await probeStore(call)
        case .showProbe: try await showProbe(call)
        case .checkStore: try await checkStore(call)
        case .showStoreCheck: try await showStoreCheck(call)
        case .repairStore: try await repairStore(call)
        case .showStoreRepair: try await showStoreRepair(call)
        case .listStores: try await listStores(call)
        default: throw Refusal.noRoute
        }
    }
}
