"""Faults that a test asks for, and the calls that were made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.local.foundry_stand_in.refusals import RefusedError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Fault:
    """What becomes of calls: refused with `status`, or without one left unanswered until the caller goes.

    `call` is a method and a route, such as "POST /agents/{name}/versions". The first `skipped` calls are answered, then
    `times` calls meet the fault. Where it comes `after`, the call is carried out all the same. A `body` is sent as it
    is, as a page where it begins with `<`, as a proxy on the way would. `reached` tells that a call has met it.
    """

    call: str
    status: int | None = None
    retry_after_seconds: int | None = None
    times: int = 1
    skipped: int = 0
    after: bool = False
    body: str | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class Faults:
    """`calls` in order, as faults name them."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []
        self.calls: list[str] = []

    def add(self, call: str, status: int | None = None, **options: Any) -> Fault:  # noqa: ANN401 - of Fault
        fault = Fault(call, status, **options)
        self.waiting.append(fault)
        return fault

    async def around(self, call: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.calls.append(call)
        fault = self._next(call)
        if fault is None:
            return await handler(request)
        if fault.after:
            await handler(request)
        fault.reached.set()
        if fault.status is None:
            await asyncio.Event().wait()
        if fault.body is not None:
            kind = "text/html" if fault.body.startswith("<") else "application/json"
            return web.Response(status=fault.status or 500, text=fault.body, content_type=kind)
        raise RefusedError(
            fault.status or 500,
            "rate_limit_exceeded" if fault.status == 429 else "server_error",
            "The stand-in was asked to fail.",
            kind="server_error",
            retry_after_seconds=fault.retry_after_seconds,
        )

    def _next(self, call: str) -> Fault | None:
        for fault in self.waiting:
            if fault.call != call:
                continue
            if fault.skipped:
                fault.skipped -= 1
                return None
            fault.times -= 1
            if not fault.times:
                self.waiting.remove(fault)
            return fault
        return None
