"""The floor: the calls of a bot, with aiohttp alone. Nothing that follows the protocol can be much cheaper."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

# An answer that is complete this soon after its first words is one message.
FIRST_WORDS_SECONDS = 0.05
SILENCE_SECONDS = 1.0
SESSION = web.AppKey("session", aiohttp.ClientSession)


class Reader:
    """Reads the model's stream; `text` grows as it arrives."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.text = ""
        self.payload = asyncio.Event()

    async def read(self, question: str) -> None:
        body = {
            "model": os.environ["DATABRICKS_MODEL_NAME"],
            "stream": True,
            "messages": [{"role": "user", "content": question}],
        }
        headers = {"Authorization": f"Bearer {os.environ['DATABRICKS_TOKEN']}"}
        url = os.environ["DATABRICKS_BASE_URL"] + "/chat/completions"
        async with self._session.post(url, json=body, headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                    for choice in json.loads(line[6:])["choices"]:
                        self.text += choice["delta"].get("content") or ""
                    self.payload.set()


class Sender:
    def __init__(self, session: aiohttp.ClientSession, received: dict[str, Any]) -> None:
        self._session = session
        conversation = quote(received["conversation"]["id"], safe="")
        base = received["serviceUrl"].rstrip("/")
        self._url = f"{base}/v3/conversations/{conversation}/activities/{quote(received['id'], safe='')}"
        self._base = {
            "channelId": received["channelId"],
            "from": received["recipient"],
            "recipient": received["from"],
            "conversation": received["conversation"],
            "replyToId": received["id"],
        }
        self._stream_id: str | None = None
        self._sequence = 0

    async def send(self, **activity: object) -> str | None:
        async with self._session.post(self._url, json=self._base | activity) as response:
            response.raise_for_status()
            found: dict[str, str] = await response.json()
            return found.get("id")

    async def update(self, text: str, stream_type: str) -> None:
        self._sequence += 1
        info = {"type": "streaminfo", "streamType": stream_type, "streamSequence": self._sequence}
        if self._stream_id:
            info["streamId"] = self._stream_id
        sent = await self.send(type="typing", text=text, entities=[info])
        self._stream_id = self._stream_id or sent

    async def finish(self, text: str) -> None:
        info = {"type": "streaminfo", "streamId": self._stream_id, "streamType": "final"}
        await self.send(type="message", text=text, entities=[info])


async def answer_streaming(sender: Sender, reader: Reader, reading: asyncio.Task[None]) -> None:
    clock = asyncio.get_running_loop().time
    await sender.send(type="typing")
    payload = asyncio.create_task(reader.payload.wait())
    await asyncio.wait({payload, reading}, timeout=SILENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    payload.cancel()
    if reader.text:
        await asyncio.wait({reading}, timeout=FIRST_WORDS_SECONDS)
    if reading.done():
        await sender.send(type="message", text=reader.text)
        return
    shown = reader.text
    await sender.update(shown or "Thinking…", "streaming" if shown else "informative")
    sent_at = clock()
    while True:
        await asyncio.wait({reading}, timeout=max(sent_at + 1.0 - clock(), 0.02))
        if reading.done():
            break
        if reader.text != shown and clock() >= sent_at + 1.0:
            shown = reader.text
            await sender.update(shown, "streaming")
            sent_at = clock()
    await asyncio.sleep(sent_at + 1.0 - clock())
    await sender.finish(reader.text)


async def receive(request: web.Request) -> web.Response:
    received = await request.json()
    session = request.app[SESSION]
    reader, sender = Reader(session), Sender(session, received)
    reading = asyncio.create_task(reader.read(received["text"]))
    if received["conversation"]["conversationType"] == "personal":
        await answer_streaming(sender, reader, reading)
    else:
        await sender.send(type="typing")
        await reading
        await sender.send(type="message", text=reader.text)
    await reading
    return web.Response(status=200)


def application() -> web.Application:
    app = web.Application()
    app.add_routes([web.post("/api/messages", receive)])

    async def one_session(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            app[SESSION] = session
            yield

    app.cleanup_ctx.append(one_session)
    return app


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    web.run_app(application(), host="127.0.0.1", port=arguments.parse_args().port, print=None, access_log=None)
