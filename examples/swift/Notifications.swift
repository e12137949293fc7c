// A persistent device on iOS and macOS, with CocoaMQTT 2 (https://github.com/emqx/CocoaMQTT, product CocoaMQTT).
// Keep one instance while the app is in the foreground. What comes meanwhile waits on the server, for a week here.

import CocoaMQTT
import Foundation

struct FalconNotification: Decodable {
    let id: Int64
    let seq: Int64
    let kind: String
    let title: String
    let message: String
    let createdAt: String
    let readAt: String?
    let statusId: Int?

    enum CodingKeys: String, CodingKey {
        case id, seq, kind, title, message
        case createdAt = "created_at"
        case readAt = "read_at"
        case statusId = "status_id"
    }
}

final class Notifications {
    private let client: CocoaMQTT5
    private let topic: String
    private let token: (@escaping (String?) -> Void) -> Void // a fresh one each time
    private let received: (FalconNotification) -> Void
    private let refused: (String) -> Void
    private var epoch: String?
    private var last: Int64 = 0 // keep both on disk, together, and nothing is ever shown twice
    private var latest: Int64 = 0 // came with the retain flag
    private var stopped = false

    /// device is one id an installation, kept: two connections with one id end each other. user is the sub of the token.
    init(host: String, port: UInt16 = 8883, user: String, device: String,
         token: @escaping (@escaping (String?) -> Void) -> Void,
         received: @escaping (FalconNotification) -> Void, refused: @escaping (String) -> Void) {
        topic = "users/\(user)/reports/status"
        self.token = token
        self.received = received
        self.refused = refused
        client = CocoaMQTT5(clientID: device, host: host, port: port)
        client.enableSSL = port != 1883 // 1883: on your own machine only
        client.keepAlive = 60
        client.cleanSession = false // keep our place …
        let properties = MqttConnectProperties()
        properties.sessionExpiryInterval = 7 * 24 * 3600 // … for a week
        client.connectProperties = properties

        client.didConnectAck = { [weak self] _, reason, _ in self?.connected(reason) }
        client.didReceiveMessage = { [weak self] _, message, _, properties in self?.take(message, properties?.userProperty?["epoch"]) }
        client.didSubscribeTopics = { [weak self] _, _, failed, _ in
            if !failed.isEmpty { self?.refused("the token does not allow this user's notifications") } // SUBACK 0x87
        }
        client.didDisconnectReasonCode = { [weak self] _, reason in
            if reason == .sessionTakenOver { self?.stop() } // 0x8E: this device connected elsewhere
        }
        client.didDisconnect = { [weak self] _, _ in self?.again() }
    }

    func start() {
        stopped = false
        token { [weak self] fresh in
            guard let self = self, !self.stopped else { return }
            guard let fresh = fresh else { return self.again() }
            self.client.username = "token"
            self.client.password = fresh
            _ = self.client.connect()
        }
    }

    func stop() {
        stopped = true
        client.disconnect()
    }

    private func connected(_ reason: CocoaMQTTCONNACKReasonCode) {
        guard reason == .success else {
            if reason == .badUsernameOrPassword || reason == .notAuthorized { refused("the token is not good") } // 0x86, 0x87
            return // didDisconnect follows
        }
        let mine = MqttSubscription(topic: topic)
        mine.qos = .qos1
        mine.retainHandling = .sendOnlyWhenSubscribeIsNew // the latest notification comes with the first subscription only
        client.subscribe([mine])
    }

    private func take(_ message: CocoaMQTT5Message, _ life: String?) {
        if life != epoch { // the database was restored: known seqs mean nothing
            epoch = life
            last = 0
            latest = 0
        }
        guard let item = try? JSONDecoder().decode(FalconNotification.self, from: Data(message.payload)) else { return }
        if item.seq <= last { return } // a repeat
        // A jump means missed, muted or deleted: GET /notifications?after=<last> tells which.
        let shown = item.seq == latest
        if message.retained {
            latest = item.seq // never last: what was missed before it may still follow
        } else {
            last = item.seq
        }
        if !shown { received(item) }
    }

    /// Connects again after 1 to 5 s, with a fresh token: the one before may have ended.
    private func again() {
        if stopped { return }
        DispatchQueue.main.asyncAfter(deadline: .now() + .random(in: 1...5)) { [weak self] in
            if let self = self, !self.stopped { self.start() }
        }
    }
}
