"""Calls over MCP: each is a request, so that one that takes long goes on, and any worker knows what came of it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from app.foundry.requests.tool_request import KeptValue, OpenRequest, ToolRequest
from app.foundry.tools.foundry_tool import FoundryTool
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.turns.reply import UndeliveredError

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 50.0
"""Foundry was seen to cut a call after 60 s: https://github.com/Azure/azure-sdk-for-net/issues/54526"""
_MAX_OPEN = 200
_MAX_WAITING = 30
"""Of the requests that host.json allows at a time (100), among which are people's messages. One more gets its handle
at once."""
_MAX_PROGRESS_CHARACTERS = 200
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 4.0
_HANDLE = re.compile(r"([a-z_]{1,40})\.[0-9a-f]{32}")

_UNKNOWN_HANDLE = "There is no result of that handle. Call the tool again with the question."
_BUSY = "Too many calls are being answered at the moment. Call again in a minute."
_NOT_RECORDED = "The call could not be recorded, so nothing was looked up. Call again."
_NOT_READ = "The result cannot be read at the moment. Call get_result again with the same handle."


@dataclass(frozen=True, slots=True)
class CallResult:
    text: str
    failed: bool = False


class Requests(Protocol):
    """What `app.foundry.requests.tool_requests.ToolRequests` does."""

    async def answer(self, request: ToolRequest, *, progress: Callable[[str], None]) -> KeptValue | None: ...

    async def find(self, tool: str, correlation_id: str) -> KeptValue | OpenRequest | None: ...


@dataclass(slots=True)
class _OpenCall:
    """`progress` is what the tool said last."""

    progress: str = ""
    answering: asyncio.Task[CallResult | None] = field(init=False)

    def said(self, line: str) -> None:
        self.progress = line[:_MAX_PROGRESS_CHARACTERS]

    async def waited_for(self, seconds: float) -> CallResult | None:
        # What is being answered goes on when its caller is gone.
        await asyncio.wait({self.answering}, timeout=seconds)
        return self.answering.result() if self.answering.done() and not self.answering.cancelled() else None


class ToolCalls:
    """`now` is the time of day in seconds since 1970."""

    def __init__(
        self, tools: Sequence[FoundryTool], requests: Requests, *, now: Callable[[], float] = time.time
    ) -> None:
        self.tools = tools
        self._by_name = {tool.name: tool for tool in tools}
        self._requests = requests
        self._now = now
        self._open: dict[str, _OpenCall] = {}
        self._waiting = 0
        self._closing = asyncio.Event()

    async def call(self, name: str, arguments: Mapping[str, Any], traceparent: str | None) -> CallResult:
        if name not in self._by_name:
            return CallResult(f"There is no tool of the name {name[:80]!r}.", failed=True)
        if len(self._open) >= _MAX_OPEN:
            return CallResult(_BUSY, failed=True)
        handle = f"{name}.{uuid4().hex}"
        request = ToolRequest(
            name, handle, arguments, inserted_at=self._now(), value_is_sent=False, traceparent=traceparent
        )
        self._open[handle] = call = _OpenCall()
        call.answering = asyncio.create_task(self._answer(request, call))
        call.answering.add_done_callback(lambda _: self._open.pop(handle))
        with self._seconds_to_wait() as seconds:
            return await call.waited_for(seconds) or _not_ready(handle, call.progress)

    async def result_of(self, handle: str) -> CallResult:
        """Waits for it for a while."""
        named = _HANDLE.fullmatch(handle.strip()[:80])
        if named is None:
            return CallResult(_UNKNOWN_HANDLE, failed=True)
        tool, handle = named[1], named[0]
        with self._seconds_to_wait() as seconds:
            return await self._result_within(seconds, tool, handle)

    async def _result_within(self, seconds: float, tool: str, handle: str) -> CallResult:
        clock = asyncio.get_running_loop().time
        until, pause = clock() + seconds, _FIRST_PAUSE_SECONDS
        while True:
            call = self._open.get(handle)
            if call is not None and (result := await call.waited_for(until - clock())) is not None:
                return result
            try:
                found = await self._requests.find(tool, handle)
            except StorageError:
                return CallResult(_NOT_READ, failed=True)
            except Exception:
                # The MCP server would tell its caller what it says.
                return _unexpected()
            if found is None and call is None:
                return CallResult(_UNKNOWN_HANDLE, failed=True)
            if isinstance(found, KeptValue):
                return CallResult(found.text, found.failed)
            if clock() + pause >= until or self._closing.is_set():
                return _not_ready(handle, call.progress if call is not None else "")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def close(self) -> None:
        """Hands over what is being answered: another worker goes on with it."""
        self._closing.set()
        answering = [call.answering for call in self._open.values()]
        for each in answering:
            each.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    @contextmanager
    def _seconds_to_wait(self) -> Iterator[float]:
        self._waiting += 1
        try:
            yield _WAIT_SECONDS if self._waiting <= _MAX_WAITING else 0.0
        finally:
            self._waiting -= 1

    async def _answer(self, request: ToolRequest, call: _OpenCall) -> CallResult | None:
        """None where the value is not there yet."""
        try:
            value = await self._requests.answer(request, progress=call.said)
        except UndeliveredError:
            return None
        except StorageError:
            _log.warning("A call over MCP could not be recorded", exc_info=True)
            return CallResult(_NOT_RECORDED, failed=True)
        except Exception:
            return _unexpected()
        return None if value is None else CallResult(value.text, value.failed)


def _unexpected() -> CallResult:
    """Of the exception that is being handled."""
    error_id = new_error_id()
    _log.exception("A call over MCP failed, error id %s", error_id)
    return CallResult(f"Something unexpected went wrong. Call again. (error id {error_id})", failed=True)


def _not_ready(handle: str, progress: str) -> CallResult:
    doing = f" ({progress})" if progress else ""
    return CallResult(
        f"The answer is not ready yet: it is being worked on{doing}. Call get_result with the handle {handle} to wait "
        "for it, and do not call the tool again meanwhile."
    )
