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
from app.storage.azure.table_entities import turn_row
from tests.fakes.azurite import Azurite
from tests.faults.plan import Question
from tests.faults.storage import key_of

# A write, alone or in a transaction, as azure-data-tables sends it.
_TURN = re.compile(
    rb"(POST|PUT|PATCH) \S+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n"
    rb'{[^{}]{0,400}?"RowKey": "([0-9a-f]{32}-turn-[0-9a-f]{64})"[^{}]{0,800}?"owner": "([0-9a-f]{32})"'
)
# Bytes of an operation up to the owner, and more.
_LONGEST_HEAD = 4096
_AT_A_TIME = 65_536


@dataclass(frozen=True, slots=True)
class Write:
    """That it was asked for: what became of it is not looked at. `owner` names one attempt, `enters` is its first."""

    at: float
    owner: str
    worker: str
    enters: bool


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
        self._writers: set[StreamWriter] = set()
        self._open: dict[str, asyncio.Event] = {}
        self.writes: dict[str, list[Write]] = {}
        self._worker_of: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            (await server).close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._connections)

    def connection_string_for(self, worker: str) -> str:
        """The account, its tables at an address that this worker alone knows."""
        listener = listen(0)

        async def connected(reader: StreamReader, writer: StreamWriter) -> None:
            await self._pass_on(worker, reader, writer)

        self._servers.append(asyncio.create_task(asyncio.start_server(connected, sock=listener)))
        direct = self._azurite.address("table")
        tapped = direct.replace(f":{self._azurite.ports['table']}/", f":{port_of(listener)}/")
        return self._azurite.connection_string.replace(direct, tapped)

    def hold(self, worker: str) -> None:
        """The tables do not answer this worker until `let_go`."""
        self._gate(worker).clear()

    def let_go(self, worker: str) -> None:
        self._gate(worker).set()

    def _gate(self, worker: str) -> asyncio.Event:
        if worker not in self._open:
            self._open[worker] = asyncio.Event()
            self._open[worker].set()
        return self._open[worker]

    def worker_of(self, owner: str) -> str | None:
        return self._worker_of.get(owner)

    def of(self, question: Question) -> Sequence[Write]:
        return self.writes.get(turn_row(key_of(question)), ())

    def takeovers(self, question: Question) -> list[TakenOver]:
        """Not by who wanted to enter what had been, nor by who was not the fastest: others go on to write."""
        writes = self.of(question)
        of_owner: dict[str, list[Write]] = {}
        for write in writes:
            of_owner.setdefault(write.owner, []).append(write)
        had: list[list[Write]] = []
        for its in of_owner.values():
            once = len(its) == 1
            overtaken = once and any(before[-1].at > its[0].at for before in had)
            if not had or not (overtaken or (once and its[0].enters)):
                had.append(its)
        return [TakenOver(after[0].at, before[0].worker, after[0].worker) for before, after in pairwise(had)]

    def note(self, method: str, row: str, owner: str, worker: str) -> None:
        self._worker_of.setdefault(owner, worker)
        self.writes.setdefault(row, []).append(Write(self._clock(), owner, worker, method == "POST"))

    async def _pass_on(self, worker: str, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        self._writers.add(writer)
        task.add_done_callback(self._connections.discard)
        writers = [writer]
        pumps: list[Task[None]] = []
        try:
            there, there_writer = await asyncio.open_connection(LOOPBACK, self._azurite.ports["table"])
            writers.append(there_writer)
            pumps = [
                asyncio.create_task(
                    _pump(
                        reader,
                        there_writer,
                        _Head(lambda method, row, owner: self.note(method, row, owner, worker)),
                        self._gate(worker),
                    )
                ),
                asyncio.create_task(_pump(there, writer)),
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
            self._writers.discard(writer)
            await asyncio.gather(*pumps, return_exceptions=True)


class _Head:
    """Finds turns in what comes in pieces."""

    def __init__(self, found: Callable[[str, str, str], None]) -> None:
        self._found = found
        self._tail = b""

    def feed(self, data: bytes) -> None:
        data = self._tail + data
        end = 0
        for match in _TURN.finditer(data):
            self._found(match[1].decode(), match[2].decode(), match[3].decode())
            end = match.end()
        self._tail = data[max(end, len(data) - _LONGEST_HEAD) :]


async def _pump(
    reader: StreamReader, writer: StreamWriter, head: _Head | None = None, gate: asyncio.Event | None = None
) -> None:
    try:
        while data := await reader.read(_AT_A_TIME):
            if gate is not None:
                await gate.wait()
            if head is not None:
                head.feed(data)
            writer.write(data)
            await writer.drain()
    except OSError:
        return
