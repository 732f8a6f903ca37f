"""Between each worker and the tables: passes on every byte, and reads which worker writes which turn."""

from __future__ import annotations

import asyncio
import re
from asyncio import StreamReader, StreamWriter, Task
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

from app.local.lifetime import LOOPBACK, listen, port_of
from app.storage.entities import turn_row
from tests.fakes.azurite import Azurite
from tests.faults.plan import Question
from tests.faults.storage import key_of

_TURN = re.compile(rb'"RowKey":\s*"([0-9a-f]{32}-t-[0-9a-f]{64})"[^{}]{0,800}?"owner":\s*"([0-9a-f]{32})"')
# Bytes of a turn's row up to its owner, and more.
_LONGEST_HEAD = 1200
_AT_A_TIME = 65_536


@dataclass(frozen=True, slots=True)
class Write:
    """That it was asked for: whether another was faster is not looked at. `owner` names one attempt."""

    at: float
    owner: str
    worker: str


@dataclass(frozen=True, slots=True)
class TakenOver:
    at: float
    before: str
    after: str


class Tap:
    """`clock` counts the seconds of the run."""

    def __init__(self, azurite: Azurite, clock: Callable[[], float]) -> None:
        self._azurite = azurite
        self._clock = clock
        self._servers: list[Task[asyncio.Server]] = []
        self._connections: set[Task[None]] = set()
        self.writes: dict[str, list[Write]] = {}
        self._worker_of: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            (await server).close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def connection_string_for(self, worker: str) -> str:
        """The account, its tables at an address that this worker alone knows."""
        listener = listen(0)

        async def connected(reader: StreamReader, writer: StreamWriter) -> None:
            await self._pass_on(worker, reader, writer)

        self._servers.append(asyncio.create_task(asyncio.start_server(connected, sock=listener)))
        direct = self._azurite.address("table")
        tapped = direct.replace(f":{self._azurite.ports['table']}/", f":{port_of(listener)}/")
        return self._azurite.connection_string.replace(direct, tapped)

    def worker_of(self, owner: str) -> str | None:
        return self._worker_of.get(owner)

    def of(self, question: Question) -> Sequence[Write]:
        return self.writes.get(turn_row(key_of(question)), ())

    def takeovers(self, question: Question) -> list[TakenOver]:
        """One that another was faster than is none: the one before goes on to write, or the faster one does."""
        writes = self.of(question)
        owners = list(dict.fromkeys(write.owner for write in writes))
        times = {owner: [write.at for write in writes if write.owner == owner] for owner in owners}
        had = [
            owner
            for number, owner in enumerate(owners)
            if len(times[owner]) > 1 or all(times[before][-1] < times[owner][0] for before in owners[:number])
        ]
        return [
            TakenOver(times[after][0], self._worker_of[before], self._worker_of[after])
            for before, after in pairwise(had)
        ]

    def note(self, row: str, owner: str, worker: str) -> None:
        self._worker_of.setdefault(owner, worker)
        self.writes.setdefault(row, []).append(Write(self._clock(), owner, worker))

    async def _pass_on(self, worker: str, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        writers = [writer]
        pumps: list[Task[None]] = []
        try:
            there, there_writer = await asyncio.open_connection(LOOPBACK, self._azurite.ports["table"])
            writers.append(there_writer)
            pumps = [
                asyncio.create_task(
                    _pump(reader, there_writer, _Head(lambda row, owner: self.note(row, owner, worker)))
                ),
                asyncio.create_task(_pump(there, writer, None)),
            ]
            # Whichever end goes away, the other is to see it.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            return
        finally:
            for pump in pumps:
                pump.cancel()
            for each in writers:
                each.close()
            await asyncio.gather(*pumps, return_exceptions=True)


class _Head:
    """Finds turns in what comes in pieces."""

    def __init__(self, found: Callable[[str, str], None]) -> None:
        self._found = found
        self._tail = b""

    def feed(self, data: bytes) -> None:
        data = self._tail + data
        end = 0
        for match in _TURN.finditer(data):
            self._found(match[1].decode(), match[2].decode())
            end = match.end()
        self._tail = data[max(end, len(data) - _LONGEST_HEAD) :]


async def _pump(reader: StreamReader, writer: StreamWriter, head: _Head | None) -> None:
    try:
        while data := await reader.read(_AT_A_TIME):
            if head is not None:
                head.feed(data)
            writer.write(data)
            await writer.drain()
    except OSError:
        return
