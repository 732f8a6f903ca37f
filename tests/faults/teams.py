"""The channel's side of every chat: keeps Teams' rules, fails as the channel faults say, and knows what people see.

Rules: https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from app.agent.user_messages import STORAGE_UNAVAILABLE
from app.local.lifetime import LOOPBACK, listen, port_of
from tests.faults.channel_faults import ChannelFaults, Fault
from tests.faults.plan import Kind, Question

# Seconds. Less than Teams' one, for what a request waits in a busy machine before anybody looks at the clock.
_BETWEEN_UPDATES = 0.85
_LONGER_THAN_ANY_PATIENCE = 60.0
_SLOW = 2.5
_A_STREAM_LIVES = 120.0


@dataclass(slots=True)
class Call:
    """One call of a bot: `kind` is what it was, `status` what it was answered with, None while it is not; `bubble` is
    the id of the message that it made.
    """

    at: float
    question: str
    kind: str
    text: str
    fault: Fault | None
    status: int | None = None
    answered_at: float | None = None
    delivered: bool = False
    bubble: str = ""


@dataclass(slots=True)
class Bubble:
    """A message that a person sees; `stream` while and after it streams. Times in seconds of the run."""

    id: str
    question: str
    at: float
    text: str
    is_final: bool
    stream: bool
    sequence: int = 0
    final_at: float | None = None
    order: int = 0

    @property
    def asks_again(self) -> bool:
        return STORAGE_UNAVAILABLE.english in self.text


class Teams:
    """`clock` counts the seconds of the run. Without `channel_faults` every call is answered as it should be."""

    def __init__(
        self, questions: Mapping[str, Question], channel_faults: ChannelFaults | None, clock: Callable[[], float]
    ) -> None:
        self._questions = questions
        self.channel_faults = channel_faults
        self._clock = clock
        self._ids = itertools.count(1)
        self._order = itertools.count(1)
        self._last_update: dict[str, float] = {}
        self._closing = asyncio.Event()
        self._news = asyncio.Event()
        self.calls: list[Call] = []
        self.bubbles: dict[str, Bubble] = {}
        self._bubbles_of: dict[str, list[Bubble]] = {}
        self.breaches: list[str] = []
        self.side_by_side: list[tuple[Bubble, Bubble]] = []
        """A stream that was open, and one that was opened beside it: Teams allows one a chat."""
        self.dropped_updates = 0
        self.hurried = 0
        self.service_url = ""

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1024 * 1024)
        path = "/v3/conversations/{conversation}/activities/{activity}"
        application.router.add_post(path, self._post)
        application.router.add_put(path, self._put)
        application.router.add_route("*", "/{path:.*}", self._unknown)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        listener = listen(0)
        await web.SockSite(self._runner, listener).start()
        self.service_url = f"http://{LOOPBACK}:{port_of(listener)}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await self._runner.cleanup()

    def finals(self, question: str) -> list[Bubble]:
        """The answers that the person has got, first come first."""
        found = [bubble for bubble in self._bubbles_of.get(question, ()) if bubble.is_final and not bubble.asks_again]
        return sorted(found, key=lambda bubble: bubble.order)

    def told_to_ask_again(self, question: str) -> list[Bubble]:
        return [bubble for bubble in self._bubbles_of.get(question, ()) if bubble.asks_again]

    async def all_answered(self) -> None:
        """Returns when every question has an answer, or is not to have one."""
        missing = list(self._questions)
        while missing := [each for each in missing if not self.finals(each) and not self.told_to_ask_again(each)]:
            self._news.clear()
            await self._news.wait()

    def left_open(self, question: str) -> list[Bubble]:
        """Streams that were never ended."""
        return [bubble for bubble in self._bubbles_of.get(question, ()) if not bubble.is_final]

    def signs_of(self, question: str) -> list[Call]:
        return [call for call in self.calls if call.question == question]

    async def _unknown(self, request: web.Request) -> web.Response:
        self.breaches.append(f"{request.method} {request.path} is no call of the connector's API")
        return web.Response(status=404)

    async def _post(self, request: web.Request) -> web.Response:
        activity = json.loads(await request.read())
        question = request.match_info["activity"]
        stream = next((e for e in activity.get("entities") or () if e.get("type") == "streaminfo"), None)
        kind = str(stream["streamType"] if stream else activity["type"])
        if not self._addressed_well(question, request.match_info["conversation"], activity):
            return _error(404, "ConversationNotFound", "no such conversation")
        call = self._note(question, kind, activity, whole=activity["type"] == "message")
        return await self._answer(call, lambda: self._delivered(call, stream))

    async def _put(self, request: web.Request) -> web.Response:
        activity = json.loads(await request.read())
        bubble = self.bubbles.get(request.match_info["activity"])
        if bubble is None:
            self.breaches.append(f"an edit of message {request.match_info['activity']}, which is not there")
            return _error(404, "ActivityNotFoundInConversation", "no such message")
        call = self._note(bubble.question, "edit", activity, whole=True)
        return await self._answer(call, lambda: self._edited(bubble, call))

    def _note(self, question: str, kind: str, activity: dict[str, Any], *, whole: bool) -> Call:
        fault = self.channel_faults.next(question, whole_message=whole) if self.channel_faults else None
        call = Call(self._clock(), question, kind, str(activity.get("text") or ""), fault)
        self.calls.append(call)
        return call

    def _addressed_well(self, question: str, conversation: str, activity: dict[str, Any]) -> bool:
        asked = self._questions.get(question)
        if asked is None or asked.conversation != conversation:
            self.breaches.append(f"a reply to {question} in {conversation}, where that was never asked")
            return False
        if activity.get("replyToId") != question:
            self.breaches.append(f"a reply to {question} says that it replies to {activity.get('replyToId')}")
        return True

    async def _answer(self, call: Call, deliver: Callable[[], web.Response]) -> web.Response:
        if call.fault is Fault.THROTTLED:
            response = _error(429, "TooManyRequests", "API calls quota exceeded", **{"Retry-After": "1"})
        elif call.fault is None or call.fault.delivers:
            if call.fault is Fault.SLOW:
                await asyncio.sleep(_SLOW)
            response = deliver()
            call.delivered = response.status < 300
        if call.fault in (Fault.SILENT, Fault.SILENT_AFTER):
            await self._keep_silent()
        if call.fault is not None and call.fault.leaves_doubt:
            response = _error(500, "ServiceError", "Unknown")
        call.status, call.answered_at = response.status, self._clock()
        self._news.set()
        return response

    async def _keep_silent(self) -> None:
        try:
            async with asyncio.timeout(_LONGER_THAN_ANY_PATIENCE):
                await self._closing.wait()
        except TimeoutError:
            return

    def _delivered(self, call: Call, stream: dict[str, Any] | None) -> web.Response:
        if stream is not None:
            return self._streamed(call, stream)
        if call.kind != "typing":
            bubble = self._new(call, stream=False)
            return web.json_response({"id": bubble.id}, status=201)
        return web.json_response({"id": f"typing-{next(self._ids)}"}, status=201)

    def _streamed(self, call: Call, info: dict[str, Any]) -> web.Response:
        if self._questions[call.question].kind is Kind.GROUP:
            return _error(405, "MethodNotAllowed", "Method not allowed")
        if not call.text:
            return _error(400, "BadRequest", "Start streaming activities should include text")
        known = str(info.get("streamId") or "")
        if self._clock() - self._last_update.get(known, -1.0) < _BETWEEN_UPDATES:
            self.hurried += 1
            return _error(429, "TooManyRequests", "API calls quota exceeded")
        if not known:
            return self._opened(call, info)
        bubble = self.bubbles.get(known)
        if bubble is None or bubble.question != call.question:
            self.breaches.append(f"an update for {call.question} in stream {known}, which is not its own")
            return _error(400, "BadRequest", "no such stream")
        self._last_update[known] = self._clock()
        return self._updated(call, info, bubble)

    def _opened(self, call: Call, info: dict[str, Any]) -> web.Response:
        if info.get("streamSequence") != 1 or call.kind == "final":
            self.breaches.append(f"a stream for {call.question} begins with {info}")
            return _error(400, "BadRequest", "a stream begins with 1")
        opened = self._open_streams(self._questions[call.question].conversation)
        bubble = self._new(call, stream=True)
        self.side_by_side += [(earlier, bubble) for earlier in opened]
        self._last_update[bubble.id] = self._clock()
        return web.json_response({"id": bubble.id}, status=201)

    def _open_streams(self, conversation: str) -> list[Bubble]:
        return [
            bubble
            for bubble in self.bubbles.values()
            if bubble.stream
            and not bubble.is_final
            and self._clock() - bubble.at < _A_STREAM_LIVES
            and self._questions[bubble.question].conversation == conversation
        ]

    def _updated(self, call: Call, info: dict[str, Any], bubble: Bubble) -> web.Response:
        if bubble.is_final:
            return _error(
                403, "ContentStreamNotAllowed", "Content stream is not allowed on an already completed streamed message"
            )
        if call.kind != "informative" and not call.text.startswith(bubble.text):
            message = "Request streamed content should contain the previously streamed content"
            return _error(403, "ContentStreamNotAllowed", message)
        if call.kind == "final":
            if "streamSequence" in info:
                return _error(400, "BadRequest", "the final message has no streamSequence")
            bubble.text, bubble.is_final, bubble.final_at = call.text, True, self._clock()
            bubble.order = next(self._order)
            return web.json_response({}, status=202)
        if info["streamSequence"] <= bubble.sequence:
            # As Teams does: taken, and dropped.
            self.dropped_updates += 1
            return web.json_response({"error": {"code": "ContentStreamSequenceOrderPreConditionFailed"}}, status=202)
        bubble.sequence = info["streamSequence"]
        if call.kind == "streaming":
            bubble.text = call.text
        return web.json_response({}, status=202)

    def _edited(self, bubble: Bubble, call: Call) -> web.Response:
        if self._questions[bubble.question].kind is Kind.COPILOT:
            return _error(405, "MethodNotAllowed", "Copilot edits nothing")
        bubble.text = call.text
        return web.json_response({"id": bubble.id}, status=200)

    def _new(self, call: Call, *, stream: bool) -> Bubble:
        text = "" if call.kind == "informative" else call.text
        bubble = Bubble(f"message-{next(self._ids)}", call.question, self._clock(), text, not stream, stream)
        if stream:
            bubble.sequence = 1
        else:
            bubble.final_at, bubble.order = self._clock(), next(self._order)
        self.bubbles[bubble.id] = bubble
        self._bubbles_of.setdefault(call.question, []).append(bubble)
        call.bubble = bubble.id
        return bubble


def _error(status: int, code: str, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
