// A persistent device on Android. In build.gradle.kts:
//
//     implementation("com.hivemq:hivemq-mqtt-client:1.3.5")
//     packaging { resources.excludes += listOf("META-INF/INDEX.LIST", "META-INF/io.netty.versions.properties") }
//
// In the manifest: <uses-permission android:name="android.permission.INTERNET"/>. Keep one instance while the app is
// in the foreground (a ViewModel, or a service). What comes meanwhile waits on the server, for a week here.

package com.example.notifications

import com.hivemq.client.mqtt.MqttGlobalPublishFilter
import com.hivemq.client.mqtt.datatypes.MqttQos
import com.hivemq.client.mqtt.lifecycle.MqttDisconnectSource
import com.hivemq.client.mqtt.mqtt5.Mqtt5AsyncClient
import com.hivemq.client.mqtt.mqtt5.Mqtt5Client
import com.hivemq.client.mqtt.mqtt5.exceptions.Mqtt5DisconnectException
import com.hivemq.client.mqtt.mqtt5.lifecycle.Mqtt5ClientDisconnectedContext
import com.hivemq.client.mqtt.mqtt5.message.disconnect.Mqtt5DisconnectReasonCode
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5Publish
import com.hivemq.client.mqtt.mqtt5.message.subscribe.Mqtt5RetainHandling
import java.util.concurrent.CompletableFuture
import org.json.JSONObject

data class Notification(val id: Long, val seq: Long, val title: String, val message: String, val createdAt: String, val statusId: Int?)

class Notifications(
    host: String,
    private val port: Int = 8883,
    private val user: String, // sub of the token
    device: String, // one id an installation, kept: two connections with one id end each other
    private val token: () -> CompletableFuture<String>, // a fresh one each time
    private val store: (Notification) -> Unit, // returns when it is on disk; it may be called twice for one seq
    private val refused: (Throwable) -> Unit,
) {
    private val topic = "users/$user/reports/status"
    private var epoch: String? = null
    private var last = 0L // keep both on disk, together, and nothing is ever shown twice
    private var latest = 0L // came with the retain flag

    private val client: Mqtt5AsyncClient = Mqtt5Client.builder()
        .identifier(device)
        .serverHost(host)
        .serverPort(port)
        .apply { if (port != 1883) sslWithDefaultConfig() } // 1883: on your own machine only
        .automaticReconnectWithDefaultConfig() // 1 s to 2 min, with jitter
        .addDisconnectedListener { again(it as Mqtt5ClientDisconnectedContext) }
        .buildAsync()

    fun start() {
        // Before CONNECT: what was missed follows it at once. Acknowledged by hand, after it is stored.
        client.publishes(MqttGlobalPublishFilter.ALL, { received(it) }, true)
        token().thenCompose { fresh ->
            client.connectWith()
                .cleanStart(false) // keep our place …
                .sessionExpiryInterval(7 * 24 * 3600) // … for a week
                .simpleAuth().username("token").password(fresh.toByteArray()).applySimpleAuth()
                .send()
        }.thenCompose {
            client.subscribeWith()
                .topicFilter(topic)
                .qos(MqttQos.AT_LEAST_ONCE)
                // The latest notification comes with the first subscription only.
                .retainHandling(Mqtt5RetainHandling.SEND_IF_SUBSCRIPTION_DOES_NOT_EXIST)
                .send()
        }.whenComplete { _, error -> if (error != null) refused(error) } // SUBACK 0x87: another user's topic
    }

    fun stop() {
        client.disconnect()
    }

    private fun received(p: Mqtt5Publish) {
        val life = p.userProperties.asList().firstOrNull { it.name.toString() == "epoch" }?.value?.toString()
        if (life != epoch) { // the database was restored: known seqs mean nothing
            epoch = life
            last = 0
            latest = 0
        }
        val item = JSONObject(String(p.payloadAsBytes))
        val seq = item.getLong("seq")
        if (seq > last && seq != latest) { // otherwise a repeat
            // A jump means missed, muted or deleted: GET /notifications?after=<last> tells which.
            store(
                Notification(
                    item.getLong("id"), seq, item.getString("title"), item.getString("message"), item.getString("created_at"),
                    if (item.has("status_id")) item.getInt("status_id") else null,
                ),
            )
        }
        if (p.isRetain) latest = seq // never last: what was missed before it may still follow
        else if (seq > last) last = seq
        p.acknowledge()
    }

    /** Reconnects with a fresh token: the one before may have ended (CONNACK 0x86 or 0x87, DISCONNECT 0x87). */
    private fun again(c: Mqtt5ClientDisconnectedContext) {
        if (c.source == MqttDisconnectSource.USER) return // stop()
        val cause = c.cause
        if (cause is Mqtt5DisconnectException && cause.mqttMessage.reasonCode == Mqtt5DisconnectReasonCode.SESSION_TAKEN_OVER) {
            c.reconnector.reconnect(false) // 0x8E: this device connected elsewhere
            return
        }
        c.reconnector.reconnectWhen(token()) { fresh, error ->
            if (fresh != null) {
                c.reconnector.connectWith()
                    .cleanStart(false)
                    .sessionExpiryInterval(7 * 24 * 3600)
                    .simpleAuth().username("token").password(fresh.toByteArray()).applySimpleAuth()
                    .applyConnect()
            } else {
                refused(error)
            }
        }
    }
}
