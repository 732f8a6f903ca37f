"""One person's chat with the bot, as in Teams: questions go to `/api/messages`, answers come to a connector."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout

from app.local.connector_server import ConnectorCall, ConnectorResponse, ConnectorServer

TENANT = "00000000-0000-0000-0000-000000000001"
_PERSON = "00000000-0000-0000-0000-000000000002"

_ENDED_BEFORE_SECONDS = 11.0
"""The bot answers the POST when the turn ends, or after 12 s while the turn goes on."""
_EDITED_AFTER_SECONDS = 100.0
"""From here on Teams may have closed the stream for its age: its message is then continued by edits."""
_SILENCE_LIMIT_SECONDS = 330.0
_STOPPED = ConnectorResponse.error(403, "ContentStreamNotAllowed", "Content stream was canceled by user")
_OTHER_CONVERSATION = ConnectorResponse.error(404, "ConversationNotFound", "Conversation not found.")
_MAX_FAILURE_CHARACTERS = 2000
_FAILED = re.compile(r"⚠️ [^\n]*[0-9a-f]{8,32}\W*")


class NoAnswerError(Exception):
    """The question was not answered, or not completely; `str()` says why. `by_bot`: whether the bot itself said so."""

    def __init__(self, said: str, *, by_bot: bool = False) -> None:
        super().__init__(said)
        self.by_bot = by_bot


class Display(Protocol):
    """As `app.local.screen.Screen`."""

    def status(self, text: str) -> None: ...
    def text(self, text: str) -> None: ...
    def finish(self, text: str | None = None, sources: Sequence[str] = ()) -> None: ...


class Conversation:
    """`connector` must be this conversation's own."""

    def __init__(self, client: ClientSession, endpoint: str, connector: ConnectorServer) -> None:
        self._client = client
        self._endpoint = endpoint
        self._connector = connector
        self._id = f"a:terminal-{uuid.uuid4()}"
        self._failure: str | None = None
        self.stopped = False

    async def ask(self, text: str, display: Display) -> None:
        """Returns when the answer is complete. Raises `NoAnswerError`."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.stopped, self._failure = False, None
        self._connector.rule = self._refuse_others
        post = asyncio.create_task(self._post(text))
        next_call = asyncio.create_task(self._connector.next_call(timeout=None))
        answered = False
        try:
            while True:
                waiting: list[asyncio.Task[Any]] = [next_call] if post.done() else [next_call, post]
                passed = loop.time() - started
                if self.stopped and post.done() and passed < _ENDED_BEFORE_SECONDS:
                    break
                wait_for = patience(answered, acknowledged=post.done(), passed=passed)
                done, _ = await asyncio.wait(waiting, timeout=wait_for, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                if post in done:
                    post.result()
                if next_call in done:
                    call = next_call.result()
                    if self.stopped and call.status == _STOPPED.status:
                        break  # the bot has stopped the turn
                    answered = self._show(call, display) or answered
                    next_call = asyncio.create_task(self._connector.next_call(timeout=None))
        finally:
            next_call.cancel()
            post.cancel()
            display.finish()
        if self._failure is not None:
            raise NoAnswerError(self._failure, by_bot=True)
        if not answered and not self.stopped:
            raise NoAnswerError("The bot took the question and did not answer it.")

    def stop(self) -> None:
        """What the Stop button of Teams does: the bot's next update is refused."""
        self.stopped = True
        self._connector.rule = self._refuse_stream

    def _refuse_others(self, call: ConnectorCall) -> ConnectorResponse | None:
        """Any program, and any web page by way of a browser, can call a port of this machine."""
        return None if call.conversation_id == self._id else _OTHER_CONVERSATION

    def _refuse_stream(self, call: ConnectorCall) -> ConnectorResponse | None:
        return self._refuse_others(call) or (_STOPPED if call.stream else None)

    def _show(self, call: ConnectorCall, display: Display) -> bool:
        """Whether it was an answer, not only typing, a status line or part of a stream."""
        if call.status >= 300:
            return False
        if call.is_message:
            display.finish(self._without_failure(_readable(call.activity)), _sources(call.activity))
            return True
        if call.method == "PUT":
            display.text(self._without_failure(call.text))
            return True
        if call.stream is None or call.stream.get("streamType") == "informative":
            display.status(call.text or "…")
        else:
            display.text(call.text)
        return False

    def _without_failure(self, text: str) -> str:
        self._failure = failure_in(text)
        return text if self._failure is None else text.rstrip().removesuffix(self._failure).rstrip()

    async def _post(self, text: str) -> None:
        timeout = ClientTimeout(total=60, sock_connect=5)
        try:
            async with self._client.post(self._endpoint, json=self._activity(text), timeout=timeout) as answer:
                if answer.status >= 300:
                    said = (await answer.text())[:500].strip()
                    raise NoAnswerError(f"The bot refused the question: HTTP {answer.status}. {said}".strip())
        except (ClientError, TimeoutError) as error:
            raise NoAnswerError(f"The bot at {self._endpoint} does not answer: {error}") from error

    def _activity(self, text: str) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return {
            "type": "message",
            "id": str(uuid.uuid4()),
            "timestamp": now,
            "localTimestamp": now,
            "serviceUrl": self._connector.service_url,
            "channelId": "msteams",
            "from": {"id": f"29:{_PERSON}", "name": "Terminal", "aadObjectId": _PERSON},
            "recipient": {"id": "28:bot", "name": "Bot"},
            "conversation": {"id": self._id, "conversationType": "personal", "tenantId": TENANT},
            "channelData": {"tenant": {"id": TENANT}},
            "entities": [{"type": "clientInfo", "locale": "en-US", "country": "US", "platform": "Terminal"}],
            "locale": "en-US",
            "textFormat": "plain",
            "text": text,
        }


def failure_in(text: str) -> str | None:
    """The last line of a message that is no answer, or not the whole of one: a sentence and its error id."""
    last = text[-_MAX_FAILURE_CHARACTERS:].rstrip().rpartition("\n")[2]
    return last if _FAILED.fullmatch(last) else None


def patience(answered: bool, *, acknowledged: bool, passed: float) -> float:
    """Seconds to wait for more before the turn counts as over."""
    if not acknowledged:
        return _SILENCE_LIMIT_SECONDS
    if passed < _ENDED_BEFORE_SECONDS:
        return 0.0 if answered else 1.0
    if not answered:
        return _SILENCE_LIMIT_SECONDS
    return 8.0 if passed > _EDITED_AFTER_SECONDS else 1.5


def _readable(activity: dict[str, Any]) -> str:
    attached = [_attached(attachment) for attachment in activity.get("attachments") or ()]
    return "\n\n".join(filter(None, [str(activity.get("text") or ""), *attached]))


def _attached(attachment: dict[str, Any]) -> str:
    """A card as the text that stands in for it."""
    content = attachment.get("content")
    fallback = content.get("fallbackText") if isinstance(content, dict) else None
    return fallback if isinstance(fallback, str) else f"[{attachment.get('contentType', 'attachment')}]"


def _sources(activity: dict[str, Any]) -> list[str]:
    """https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bot-messages-ai-generated-content#citations"""
    claims = [claim for entity in activity.get("entities") or () for claim in entity.get("citation") or ()]
    return [
        " ".join(filter(None, [f"[{claim.get('position')}]", appearance.get("name"), appearance.get("url")]))
        for claim in claims
        if isinstance(appearance := claim.get("appearance"), dict)
    ]
