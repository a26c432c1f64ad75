"""Follows a table over MQTT, writes to it, and gets from the broker what it missed during a cut.

    resolvespec dev examples/flights
    pip install -r requirements.txt
    python follow_mqtt.py mqtt://127.0.0.1:1883 http://127.0.0.1:8080
"""

import json
import queue
import socket
import sys
import urllib.request
import uuid
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

BROKER = urlsplit(sys.argv[1] if len(sys.argv) > 1 else "mqtt://127.0.0.1:1883")
SERVICE = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8080"
# The broker keeps a session by this name, which is also where the client's topics are.
CLIENT_ID = "example-python"
TOPICS = f"spec/{CLIENT_ID}"
AIRLINES = {"schema": "main", "entity": "airlines"}
PATIENCE = 20


class Session:
    """One connection: one request at a time, and notifications one after the other."""

    def __init__(self):
        """Connects. The broker keeps what comes until the client is there again, for an hour at most."""
        self.answers, self.told, self.ready = queue.Queue(), queue.Queue(), queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, CLIENT_ID, protocol=mqtt.MQTTv5)
        self.client.username_pw_set(BROKER.username, BROKER.password)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self.ready.put(None)
        self.client.on_message = self._hear
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        self.client.connect(BROKER.hostname, BROKER.port or 1883, clean_start=False, properties=kept)
        self.client.loop_start()
        self.ready.get(timeout=PATIENCE)

    def ask(self, **message):
        """Says something and returns the `data` of its answer."""
        # Ids are the client's and must not come again: a request with one that was used gets the answer of that time.
        message["id"] = str(uuid.uuid4())
        self.client.publish(f"{TOPICS}/request", json.dumps(message), qos=1)
        while (answer := self.answers.get(timeout=PATIENCE))["id"] != message["id"]:
            pass
        if not answer["success"]:
            raise RuntimeError("{code}: {message}".format(**answer["error"]))
        return answer["data"]

    def show(self, word, operation):
        """Prints the next notification of an operation.

        What was told shortly before a cut may come again, so that one looks at what it says and not at how often.
        """
        while (told := self.told.get(timeout=PATIENCE))["operation"] != operation:
            pass
        print(f"{word}: {told['operation']} {told['key']['carrier']} {told['data'].get('name', '')}".rstrip(), flush=True)

    def cut(self):
        """Goes away without a word, as a client does whose network is gone."""
        self.client.loop_stop()
        self.client.socket().shutdown(socket.SHUT_RDWR)

    def close(self):
        """Goes away for good."""
        forget = Properties(PacketTypes.DISCONNECT)
        forget.SessionExpiryInterval = 0
        self.client.disconnect(properties=forget)
        self.client.loop_stop()

    def _connected(self, client, _, flags, reason, __):
        if reason.is_failure:
            raise ConnectionError(str(reason))
        self.present = flags.session_present
        client.subscribe([(f"{TOPICS}/response", 1), (f"{TOPICS}/notify/+", 1)])

    def _hear(self, _, __, message):
        answers = message.topic == f"{TOPICS}/response"
        (self.answers if answers else self.told).put(json.loads(message.payload))


def rename(name):
    """Writes as another program does, over HTTP."""
    request = urllib.request.Request(
        f"{SERVICE}/rest/main/airlines/MP",
        method="PATCH",
        headers={"Content-Type": "application/json"},
        data=json.dumps({"name": name}).encode(),
    )
    urllib.request.urlopen(request).close()


session = Session()
begun = session.ask(type="subscription", operation="subscribe", **AIRLINES)
print("subscribed, told at", begun["notify_topic"].replace(begun["subscription_id"], "…"), flush=True)
session.ask(type="request", operation="create", **AIRLINES, data={"carrier": "MP", "name": "Serpent Air"})
session.show("told", "create")

session.cut()
print("cut", flush=True)
rename("Serpent Airways")

session = Session()
print("the broker has", "kept" if session.present else "forgotten", "the session", flush=True)
session.show("missed", "update")

session.ask(type="request", operation="delete", **AIRLINES, record_id="MP")
session.show("told", "delete")
# A subscription over MQTT lasts until someone ends it.
session.ask(type="subscription", operation="unsubscribe", subscription_id=begun["subscription_id"])
session.close()
