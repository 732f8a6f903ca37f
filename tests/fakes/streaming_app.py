"""A function app that answers as the bot does, with no model behind it: for tests of what runs around the bot."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import aiohttp
import azure.functions as func

_CARD = {"type": "AdaptiveCard", "body": [], "fallbackText": "region | orders\nASIA | 3"}
_SOURCES: dict[str, object] = {
    "type": "https://schema.org/Message",
    "citation": [
        {"position": 1, "appearance": {"name": "Handbook", "abstract": "x", "url": "https://example.com/handbook"}},
        {"position": 2, "appearance": {"name": "Minutes", "abstract": "x"}},
    ],
}

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("api/messages", methods=["POST", "GET"])
async def messages(req: func.HttpRequest) -> func.HttpResponse:
    if req.method == "GET":
        return func.HttpResponse(status_code=405)
    activity = json.loads(req.get_body())
    text = activity["text"]
    if text == "refuse me":
        return func.HttpResponse("not today", status_code=401)
    async with aiohttp.ClientSession(activity["serviceUrl"]) as client:
        turn = _Turn(client, activity["conversation"]["id"])
        if text == "say nothing":
            return func.HttpResponse(status_code=200)
        await turn.update("Thinking…", "informative")
        if text == "talk for ever":
            while await turn.update(f"word number {turn.sequence} ", "streaming"):
                pass
            return func.HttpResponse(status_code=200)
        await turn.update("You said", "streaming")
        await turn.update(f"You said {text}", "streaming")
        if text == "fail":
            await turn.finish("You said\n\n⚠️ Das Modell ist beschäftigt. (Fehler-ID: 0a1b2c3d)")
            return func.HttpResponse(status_code=200)
        await turn.finish(f"You said {text}.", _SOURCES if text == "with sources" else None)
        if text == "twice":
            await turn.say("And again.")
        if text == "with a card":
            await turn.say("", {"contentType": "application/vnd.microsoft.card.adaptive", "content": _CARD})
    return func.HttpResponse(status_code=200)


class _Turn:
    def __init__(self, client: aiohttp.ClientSession, conversation: str) -> None:
        self._client = client
        self._path = f"v3/conversations/{conversation}/activities"
        self._stream: str | None = None
        self._said = ""
        self.sequence = 0

    async def update(self, text: str, kind: str) -> bool:
        """False when the person has pressed Stop."""
        self.sequence += 1
        self._said = self._said + text if text.startswith("word") else text
        entity = {"type": "streaminfo", "streamType": kind, "streamSequence": self.sequence}
        return await self._send("typing", self._said, entity)

    async def finish(self, text: str, *more: dict[str, object] | None) -> bool:
        return await self._send("message", text, {"type": "streaminfo", "streamType": "final"}, *more)

    async def say(self, text: str, *attachments: dict[str, object]) -> bool:
        self._stream = None
        return await self._send("message", text, None, attachments=attachments)

    async def _send(
        self,
        kind: str,
        text: str,
        entity: dict[str, object] | None,
        *more: dict[str, object] | None,
        attachments: Sequence[dict[str, object]] = (),
    ) -> bool:
        if entity and self._stream:
            entity["streamId"] = self._stream
        activity: dict[str, object] = {"type": kind, "text": text, "attachments": attachments}
        activity["entities"] = [each for each in (entity, *more) if each]
        async with self._client.post(self._path, json=activity) as answer:
            self._stream = self._stream or (await answer.json()).get("id")
            if seen := os.environ.get("SEEN"):
                _note(seen, "200" if answer.status < 300 else f"{answer.status}")
            return answer.status < 300


def _note(file: str, line: str) -> None:
    """For a test that cannot look into this process."""
    with open(file, "a") as notes:
        notes.write(f"{line}\n")
