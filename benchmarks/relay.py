"""A TCP relay between a subject and what it calls: it records each HTTP request, and so the round trips."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RelayedRequest:
    """The first bytes of a request, at `at` on the monotonic clock; `path` has its query."""

    at: float
    service: str
    method: str
    path: str


@dataclass(slots=True)
class Relay:
    """`ports` are those of the relay, by the names of the services behind it. A request whose path has `faulty` in it
    is never answered while the relay `hangs`, and loses its connection while it `breaks_off`.
    """

    ports: dict[str, int] = field(default_factory=dict)
    requests: list[RelayedRequest] = field(default_factory=list)
    faulty: str = ""
    hangs: bool = False
    breaks_off: bool = False

    def between(self, start: float, end: float) -> list[RelayedRequest]:
        return [each for each in self.requests if start <= each.at <= end]


@contextlib.contextmanager
def relayed(ports: Mapping[str, int]) -> Iterator[Relay]:
    """In a thread of its own, on 127.0.0.1, while the context lasts."""
    relay, ready, loop = Relay(), threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_relay(ports, relay, ready, over)), name="relay")
    thread.start()
    try:
        ready.wait(10)
        yield relay
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


async def _relay(ports: Mapping[str, int], relay: Relay, ready: threading.Event, over: asyncio.Event) -> None:
    connections: set[asyncio.Task[None]] = set()

    async def listen(service: str, port: int) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(_Connection(service, relay).relay(reader, writer, port))
            connections.add(task)
            task.add_done_callback(connections.discard)

        return await asyncio.start_server(accept, "127.0.0.1", 0)

    servers = [await listen(service, port) for service, port in ports.items()]
    relay.ports.update({name: server.sockets[0].getsockname()[1] for name, server in zip(ports, servers, strict=True)})
    ready.set()
    await over.wait()
    for server in servers:
        server.close()
    for task in connections:
        task.cancel()
    if connections:
        await asyncio.wait(connections)


class _Connection:
    """Requests are not pipelined, so the first bytes after an answer begin the next request."""

    def __init__(self, service: str, relay: Relay) -> None:
        self._service = service
        self._relay = relay
        self._answered = True

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", port)
            directions = [asyncio.create_task(self._up(reader, back)), asyncio.create_task(self._down(there, writer))]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                # Closed first: when the relay ends, the wait below is cancelled.
                writer.close()
                back.close()
                await asyncio.wait(directions)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self._answered:
                    self._answered = False
                    method, path, _ = data.partition(b"\r\n")[0].decode("latin-1").split(" ")
                    self._relay.requests.append(RelayedRequest(time.monotonic(), self._service, method, path))
                    if self._relay.faulty and self._relay.faulty in path:
                        if self._relay.breaks_off:
                            return
                        if self._relay.hangs:
                            # Until the caller gives up.
                            await reader.read()
                            return
                writer.write(data)
                await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                self._answered = True
                writer.write(data)
                await writer.drain()
