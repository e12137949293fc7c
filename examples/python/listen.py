"""Listens as a persistent device and prints one line a notification.

    pip install -r requirements.txt && FALCON_TOKEN=<token> python3 listen.py
"""

import base64
import json
import os
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

token = os.environ.get("FALCON_TOKEN", "")
try:
    part = token.split(".")[1]
    user = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"]
except (IndexError, KeyError, ValueError):
    sys.exit("FALCON_TOKEN: set it to a token of the user, such as falconbridge token --user 1 prints")
# Keep both on disk, together, and nothing is ever shown twice. A new epoch means that
# the log was restored: its seqs are given again, so those known before mean nothing.
epoch = ""
last = 0
latest = 0  # came with the retain flag


def on_connect(client, _userdata, flags, reason, _properties):
    if reason != 0:
        print(f"refused: {reason}", file=sys.stderr)
        # Only where the token is refused trying again would not help: 0x88 is the database, which comes back.
        if reason.value in (0x86, 0x87):
            client.disconnect()
        return
    # paho 1 gives a dict, paho 2 an object.
    present = flags["session present"] if isinstance(flags, dict) else flags.session_present
    if not present:
        client.subscribe(f"users/{user}/reports/status", qos=1)


def on_message(_client, _userdata, message):
    global epoch, last, latest
    item = json.loads(message.payload)
    now = dict(getattr(message.properties, "UserProperty", [])).get("epoch", "")
    if now != epoch:
        epoch, last, latest = now, 0, 0
    if item["seq"] <= last:
        return  # a repeat
    shown = item["seq"] == latest
    if message.retain:
        latest = item["seq"]  # never last: what was missed before it may still follow
    else:
        last = item["seq"]
    if not shown:
        print(f"#{item['seq']} {item['title']}", flush=True)


# paho 2 wants to be told which callbacks these are; those of MQTT 5 are the same in both.
version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*version, client_id=os.environ.get("FALCON_CLIENT", "example-python"), protocol=mqtt.MQTTv5)
client.username_pw_set("token", token)
client.on_connect = on_connect
client.on_message = on_message
client.reconnect_delay_set(1, 30)

keep = Properties(PacketTypes.CONNECT)
keep.SessionExpiryInterval = 7 * 24 * 3600
client.connect(
    os.environ.get("FALCON_HOST", "127.0.0.1"),
    int(os.environ.get("FALCON_PORT", "1883")),
    clean_start=False,
    properties=keep,
)
client.loop_forever()
