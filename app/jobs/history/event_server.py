"""Streams the events of the history to programs, over WebSocket: `GET /events` with `Authorization: Bearer <token>`.

Each message is one JSON object with `cursor`, `id`, `type`, `at` and `data`; the first is of type "hello" and has a
cursor alone. `?cursor=` goes on after that place, also at another server of the same store; after a restart, events of
the last hour before it may come again, with the `id` that they had. `?since=` begins at a time in ISO 8601.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import WSCloseCode, web

from app.jobs.history.event_log import Cursor, EventLog, EventSource, ReaderBehindError
from app.jobs.history.history_events import HistoryEvent, seconds_of_iso
from app.jobs.history.history_reading import DAY_SECONDS
from app.storage.storage_errors import StorageError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8765
MIN_TOKEN_CHARACTERS: Final = 16
MAX_DAYS_BACK: Final = 7
_MAX_CLIENTS = 50
_MAX_RECEIVED_BYTES = 4_096
_POLL_SECONDS = 5.0
_SEND_SECONDS = 30.0
_HEARTBEAT_SECONDS = 30.0
_CLOSE_SECONDS = 2.0
# An outcome is stored by the pass after the run's end; clocks of machines differ.
_OVERLAP_SECONDS = 3600.0

_log = logging.getLogger(__name__)


class EventServerError(Exception):
    """The server cannot begin; its text is a sentence for a person."""


class EventServer:
    """A client that reads slowly is disconnected after a while, and holds up no other. Binds this machine alone unless
    another `host` is given; it speaks no TLS, which is a proxy's part.
    """

    def __init__(
        self,
        source: EventSource,
        token: str,
        *,
        poll_seconds: float = _POLL_SECONDS,
        send_seconds: float = _SEND_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises `EventServerError` for a token that can be guessed, or that no header holds."""
        if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
            raise EventServerError(f"The token has at least {MIN_TOKEN_CHARACTERS} ASCII characters without spaces.")
        self._authorization = f"Bearer {token}".encode()
        self._source = source
        self._log = EventLog(source, poll_seconds=poll_seconds, clock=clock)
        self._send_seconds = send_seconds
        self._clock = clock
        self._clients: set[web.WebSocketResponse] = set()

    @asynccontextmanager
    async def running(self, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> AsyncIterator[str]:
        """The address of the events, while the server runs; port 0 is a free one.

        Raises `EventServerError` and `StorageError`.
        """
        await self._log.begin()
        app = web.Application()
        app.router.add_get("/events", self._answer)
        app.on_shutdown.append(self._disconnect)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        following = asyncio.create_task(self._log.follow())
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except (OSError, OverflowError) as error:
                raise EventServerError(f"Nothing can listen at {host}, port {port}: {error}") from error
            address = runner.addresses[0]
            shown = f"[{address[0]}]" if ":" in address[0] else address[0]
            yield f"ws://{shown}:{address[1]}/events"
        finally:
            await _ended(following)
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._authorization):
            return web.Response(
                status=401, headers={"WWW-Authenticate": "Bearer"}, text="The token is missing or wrong."
            )
        if len(self._clients) >= _MAX_CLIENTS:
            return web.Response(status=503, headers={"Retry-After": "60"}, text="Too many programs are connected.")
        try:
            begin = self._begin(request)
        except ValueError:
            return web.Response(status=400, text="The cursor or the time cannot be read.")
        if not self._log.has(begin) and begin.at_seconds < self._clock() - MAX_DAYS_BACK * DAY_SECONDS:
            return web.Response(status=410, text=f"Events are streamed from the last {MAX_DAYS_BACK} days.")
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_SECONDS, timeout=_CLOSE_SECONDS, max_msg_size=_MAX_RECEIVED_BYTES, compress=False
        )
        if not socket.can_prepare(request).ok:
            return web.Response(status=426, headers={"Upgrade": "websocket"}, text="This address speaks WebSocket.")
        await socket.prepare(request)
        self._clients.add(socket)
        try:
            await self._serve(request, socket, begin)
        finally:
            self._clients.discard(socket)
        return socket

    def _begin(self, request: web.Request) -> Cursor:
        """Raises `ValueError`."""
        if (text := request.query.get("cursor")) is not None:
            return Cursor.parse(text)
        if (text := request.query.get("since")) is not None:
            return Cursor("", 0, max(0, int(seconds_of_iso(text))))
        return self._log.end

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse, begin: Cursor) -> None:
        """Until the client goes, or reads too slowly."""
        reading = asyncio.create_task(_ignore_messages(socket))
        sending = asyncio.create_task(self._send_all(socket, begin))
        try:
            await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(reading)
            problem = await _ended(sending)
        reason = b""
        if isinstance(problem, TimeoutError):
            _log.info("A program read events too slowly and was disconnected")
            _abort(request)
            return
        if isinstance(problem, ReaderBehindError):
            reason = b"Too slow: connect again with the cursor."
        elif isinstance(problem, StorageError):
            _log.warning("The store cannot be read for events", exc_info=problem)
            reason = b"The store cannot be read now."
        elif problem is not None and not isinstance(problem, ConnectionError):
            raise problem
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason)
        except TimeoutError:
            _abort(request)

    async def _send_all(self, socket: web.WebSocketResponse, begin: Cursor) -> None:
        end = self._log.end
        told: set[str] = set()
        if self._log.has(begin):
            number = begin.number
            await self._send(socket, {"type": "hello", "cursor": str(begin)})
        else:
            # A client that goes on with time alone begins there again, should it be cut off while it is told the past.
            number = end.number
            past = Cursor("00000000", 0, begin.at_seconds)
            await self._send(socket, {"type": "hello", "cursor": str(past)})
            overlap = _OVERLAP_SECONDS if begin.log_id else 0.0
            for event in await self._source.since(begin.at_seconds - overlap):
                told.add(event.id)
                await self._send(socket, _message(event, past))
            await self._send(socket, {"type": "hello", "cursor": str(end)})
        while True:
            for logged in await self._log.after(number):
                number = logged.cursor.number
                if logged.event.id not in told:
                    await self._send(socket, _message(logged.event, logged.cursor))

    async def _send(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        async with asyncio.timeout(self._send_seconds):
            await socket.send_str(json.dumps(message))

    async def _disconnect(self, _: web.Application) -> None:
        closing = (socket.close(code=WSCloseCode.GOING_AWAY) for socket in list(self._clients))
        await asyncio.gather(*closing, return_exceptions=True)


async def _ended(task: asyncio.Task[None]) -> BaseException | None:
    """What it failed with, if it did before it was cancelled."""
    task.cancel()
    await asyncio.wait([task])
    return None if task.cancelled() else task.exception()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _ignore_messages(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


def _message(event: HistoryEvent, cursor: Cursor) -> dict[str, Any]:
    return {"cursor": str(cursor), "id": event.id, "type": event.type, "at": event.at, "data": event.data}
