"""Follows a table over WebSocket, writes to it, and goes on after a cut without missing a change.

    resolvespec dev examples/flights
    pip install -r requirements.txt
    python follow_websocket.py http://127.0.0.1:8080
"""

import asyncio
import itertools
import json
import sys
import urllib.request

import websockets

SERVICE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
AIRLINES = {"schema": "main", "entity": "airlines"}


class Session:
    """One connection: requests are answered by their id, notifications come one after the other."""

    def __init__(self, socket):
        self.socket = socket
        self.ids = map(str, itertools.count(1))
        self.answers = {}
        self.told = asyncio.Queue()
        self.listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, session=None):
        """Connects; with a session's id, its subscriptions go on."""
        url = SERVICE.replace("http", "ws", 1) + "/ws"
        return cls(await websockets.connect(f"{url}?session={session}" if session else url))

    async def ask(self, **message):
        """Says something and returns the `data` of its answer."""
        message["id"] = next(self.ids)
        answered = self.answers[message["id"]] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps(message))
        answer = await answered
        if not answer["success"]:
            raise RuntimeError("{code}: {message}".format(**answer["error"]))
        return answer["data"]

    async def close(self):
        await self.socket.close()
        await self.listening

    async def cut(self):
        """Drops the connection without a word, as a network does."""
        self.socket.transport.abort()
        await self.listening

    async def _listen(self):
        try:
            async for text in self.socket:
                message = json.loads(text)
                if message["type"] == "response":
                    self.answers.pop(message["id"]).set_result(message)
                else:
                    await self.told.put(message)
        except websockets.ConnectionClosedError:
            pass
        for answer in self.answers.values():
            answer.set_exception(ConnectionError("the connection was lost"))


async def show(session):
    told = await session.told.get()
    print(f"told: {told['operation']} {told['key']['carrier']} {told['data'].get('name', '')}".rstrip(), flush=True)


def rename(name):
    """Writes as another program does, by the other style of the same API."""
    request = urllib.request.Request(
        f"{SERVICE}/rest/main/airlines/PY",
        method="PATCH",
        headers={"Content-Type": "application/json"},
        data=json.dumps({"name": name}).encode(),
    )
    urllib.request.urlopen(request).close()


async def main():
    session = await Session.open()
    begun = await session.ask(type="subscription", operation="subscribe", **AIRLINES)
    print("subscribed", flush=True)
    row = {"carrier": "PY", "name": "Serpent Air"}
    await session.ask(type="request", operation="create", **AIRLINES, data=row)
    await show(session)

    await session.cut()
    print("cut", flush=True)
    await asyncio.to_thread(rename, "Serpent Airways")

    session = await Session.open(begun["session"])
    restored = await session.told.get()
    if "error" in restored:
        raise RuntimeError("the session is gone: " + restored["error"]["message"])
    print("restored", len(restored["restored"]), flush=True)
    # What was told shortly before the cut may come again, so look at what it says and not at how often.
    while (told := await session.told.get())["operation"] != "update":
        pass
    print("missed:", told["operation"], told["data"]["carrier"], told["data"]["name"], flush=True)

    await session.ask(type="request", operation="delete", **AIRLINES, record_id="PY")
    await show(session)
    await session.close()


asyncio.run(main())
