"""Control calls, by which another process asks for faults, ends and time, and looks at what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from app.local.foundry_stand_in.refusals import body_of

if TYPE_CHECKING:
    from app.local.foundry_stand_in.server import FoundryStandIn


class Control:
    """`POST /control/faults` takes a `Fault`, `/control/ends` {"ends": […]}, `/control/clock` {"advance_seconds": 600};
    `GET /control/state` tells what is left, the calls, and the answers that came through the queues.
    """

    def __init__(self, stand_in: FoundryStandIn) -> None:
        self._stand_in = stand_in

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.post("/control/faults", self._add_fault),
            web.post("/control/ends", self._add_ends),
            web.post("/control/clock", self._advance),
            web.get("/control/state", self._state),
        )

    async def _add_fault(self, request: web.Request) -> web.Response:
        self._stand_in.faults.add(**await body_of(request))
        return web.Response(status=204)

    async def _add_ends(self, request: web.Request) -> web.Response:
        self._stand_in.runs.ends.extend((await body_of(request))["ends"])
        return web.Response(status=204)

    async def _advance(self, request: web.Request) -> web.Response:
        self._stand_in.clock.advance((await body_of(request))["advance_seconds"])
        return web.Response(status=204)

    async def _state(self, _: web.Request) -> web.Response:
        stand_in, queues = self._stand_in, self._stand_in.queues
        state = {"left": stand_in.left(), "calls": stand_in.faults.calls, "asked": queues.asked}
        return web.json_response(state | {"values": queues.values, "malformed": queues.malformed})
