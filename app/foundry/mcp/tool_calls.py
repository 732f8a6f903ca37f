"""Calls over MCP: each is a request, so that one that takes long goes on, and any worker knows what came of it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from app.foundry.requests.tool_request import KeptValue, ToolRequest
from app.foundry.tools.foundry_tool import FoundryTool
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.turns.reply import UndeliveredError

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 50.0
"""Foundry was seen to cut a call after 60 s: https://github.com/Azure/azure-sdk-for-net/issues/54526"""
_MAX_RUNNING = 200
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

    async def answer(self, request: ToolRequest) -> str | None: ...

    async def find(self, tool: str, correlation_id: str) -> KeptValue | None: ...


class ToolCalls:
    """`now` is the time of day in seconds since 1970."""

    def __init__(
        self, tools: Sequence[FoundryTool], requests: Requests, *, now: Callable[[], float] = time.time
    ) -> None:
        self.tools = tools
        self._by_name = {tool.name: tool for tool in tools}
        self._requests = requests
        self._now = now
        self._running: dict[str, asyncio.Task[CallResult | None]] = {}

    async def call(self, name: str, arguments: Mapping[str, Any], traceparent: str | None) -> CallResult:
        if name not in self._by_name:
            return CallResult(f"There is no tool of the name {name[:80]!r}.", failed=True)
        if len(self._running) >= _MAX_RUNNING:
            return CallResult(_BUSY, failed=True)
        handle = f"{name}.{uuid4().hex}"
        request = ToolRequest(
            name, handle, arguments, inserted_at=self._now(), value_is_sent=False, traceparent=traceparent
        )
        answering = asyncio.create_task(self._answer(request))
        self._running[handle] = answering
        answering.add_done_callback(lambda _: self._running.pop(handle))
        return await self._waited_for(answering, _WAIT_SECONDS) or _not_ready(handle)

    async def result_of(self, handle: str) -> CallResult:
        """Waits for it for a while."""
        named = _HANDLE.fullmatch(handle.strip()[:80])
        if named is None or named[1] not in self._by_name:
            return CallResult(_UNKNOWN_HANDLE, failed=True)
        tool, handle = named[1], named[0]
        clock = asyncio.get_running_loop().time
        until, pause = clock() + _WAIT_SECONDS, _FIRST_PAUSE_SECONDS
        while True:
            answering = self._running.get(handle)
            if answering is not None and (result := await self._waited_for(answering, until - clock())) is not None:
                return result
            try:
                found = await self._requests.find(tool, handle)
            except StorageError:
                return CallResult(_NOT_READ, failed=True)
            if found is None and answering is None:
                return CallResult(_UNKNOWN_HANDLE, failed=True)
            if found is not None and found.text is not None:
                return CallResult(found.text)
            if clock() + pause >= until:
                return _not_ready(handle)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def close(self) -> None:
        """Hands over what is being answered: another worker goes on with it."""
        answering = list(self._running.values())
        for each in answering:
            each.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def _answer(self, request: ToolRequest) -> CallResult | None:
        """None where the value is not there yet."""
        try:
            value = await self._requests.answer(request)
        except UndeliveredError:
            return None
        except StorageError:
            _log.warning("A call over MCP could not be recorded", exc_info=True)
            return CallResult(_NOT_RECORDED, failed=True)
        except Exception:
            error_id = new_error_id()
            _log.exception("A call over MCP failed, error id %s", error_id)
            return CallResult(f"Something unexpected went wrong. Call again. (error id {error_id})", failed=True)
        return None if value is None else CallResult(value)

    async def _waited_for(self, answering: asyncio.Task[CallResult | None], seconds: float) -> CallResult | None:
        # What is being answered goes on when its caller is gone.
        await asyncio.wait({answering}, timeout=seconds)
        return answering.result() if answering.done() and not answering.cancelled() else None


def _not_ready(handle: str) -> CallResult:
    return CallResult(
        f"The answer is not ready yet: it is being worked on. Call get_result with the handle {handle} to wait for it, "
        "and do not call the tool again meanwhile."
    )
