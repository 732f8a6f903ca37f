"""Events of the history over a real WebSocket: in order, once, from any place, and slow readers alone."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from app.jobs.history import event_log
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.history.event_server import EventServer, EventServerError
from app.jobs.history.history_events import HistoryEvent, HistoryEvents
from app.jobs.incidents.incident import IncidentState
from app.jobs.incidents.incident_store import IncidentStore
from app.storage.documents import DocumentStore
from app.storage.storage_errors import StorageError
from tests.jobs.chat.sample_incidents import an_incident
from tests.jobs.history.sample_records import NOON, WORKSPACE, a_record

TOKEN = "0123456789abcdef-token"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
HOUR = 3600.0


@dataclass
class Store:
    records: DecisionRecords
    incidents: IncidentStore
    now: float = NOON + 60

    def clock(self) -> float:
        return self.now

    def server(self) -> EventServer:
        source = HistoryEvents(self.records, self.incidents, clock=self.clock)
        return EventServer(source, TOKEN, poll_seconds=0.01, clock=self.clock)


@pytest.fixture
def store(documents: DocumentStore) -> Store:
    return Store(DecisionRecords(documents, workspace=WORKSPACE), IncidentStore(documents, workspace=WORKSPACE))


class Client:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.cursor = ""

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            message: dict[str, Any] = json.loads(await self.socket.receive_str())
        self.cursor = message["cursor"]
        return message

    async def ids(self, count: int) -> list[str]:
        """Of so many events; every event has its row."""
        found: list[str] = []
        while len(found) < count:
            message = await self.next()
            if message["type"] != "hello":
                assert message["data"]
                assert message["at"]
                found.append(message["id"])
        return found


@asynccontextmanager
async def connected(url: str, query: str = "") -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}{query}", headers=HEADERS) as socket:
        client = Client(socket)
        assert (await client.next())["type"] == "hello"
        yield client


async def test_new_decisions_outcomes_and_incidents_reach_every_program_once(store: Store) -> None:
    await store.records.add(a_record(1))
    async with (
        store.server().running("127.0.0.1", 0) as url,
        connected(url) as first,
        connected(url) as second,
    ):
        record = a_record(2)
        await store.records.add(record)
        expected = [f"decision-{record.key}"]
        assert await first.ids(1) == expected
        await store.records.update(record.key, {"outcome": "succeeded", "outcome_at": "2026-11-27T12:30:00Z"})
        expected.append(f"outcome-{record.key}-succeeded-2026-11-27T12:30:00Z")
        assert await first.ids(1) == expected[1:]
        assert await second.ids(2) == expected
        incident = await store.incidents.create(an_incident())
        opened = await first.next()
        assert (opened["type"], opened["data"]["state"]) == ("incident", incident.state.value)
        assert {type(value) for value in opened["data"].values()} <= {str, int}
        closing = {"state": IncidentState.RECOVERED, "changed_at_seconds": incident.changed_at_seconds + 60}
        await store.incidents.update(incident.id, lambda each: each.model_copy(update=closing))
        assert (await first.next())["data"]["state"] == "recovered"


async def test_a_program_goes_on_exactly_where_it_was_cut_off(store: Store) -> None:
    records = [a_record(run, NOON - 20 + run) for run in range(1, 7)]
    expected = [f"decision-{record.key}" for record in records]
    async with store.server().running("127.0.0.1", 0) as url:
        async with connected(url) as client:
            for record in records[:3]:
                await store.records.add(record)
            found = await client.ids(3)
            cursor = client.cursor
        for record in records[3:5]:
            await store.records.add(record)
        async with connected(url, f"?cursor={cursor}") as client:
            found += await client.ids(2)
            await store.records.add(records[5])
            found += await client.ids(1)
    assert sorted(found) == expected
    assert len(found) == len(set(found))


async def test_after_a_restart_nothing_is_lost_and_what_comes_again_has_its_id(store: Store) -> None:
    before, during, late, after = (a_record(run, NOON - 100 + run) for run in range(4))
    async with store.server().running("127.0.0.1", 0) as url, connected(url) as client:
        await store.records.add(before)
        await client.ids(1)
        cursor = client.cursor
    await store.records.add(during)
    # The pass of another machine, whose clock is behind.
    await store.records.add(late.model_copy(update={"at": "2026-11-27T11:55:00Z"}))
    async with store.server().running("127.0.0.1", 0) as url, connected(url, f"?cursor={cursor}") as client:
        found = await client.ids(3)
        await store.records.add(after)
        found += await client.ids(1)
    assert found == [f"decision-{record.key}" for record in (late, before, during, after)]


async def test_a_program_may_begin_in_the_past(store: Store) -> None:
    for run, at in enumerate(["2026-11-26T10:00:00Z", "2026-11-27T10:00:00Z", "2026-11-27T11:00:00Z"]):
        await store.records.add(a_record(run, NOON - 3 * HOUR + run, at=at))
    async with (
        store.server().running("127.0.0.1", 0) as url,
        connected(url, "?since=2026-11-27T10:00:00Z") as client,
    ):
        assert [id_.rsplit("-", 2)[1] for id_ in await client.ids(2)] == ["1", "2"]


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("", {"Authorization": "Bearer wrong"}, 401),
        ("", {"Authorization": TOKEN}, 401),
        (f"?token={TOKEN}", {}, 401),
        ("?cursor=nonsense", HEADERS, 400),
        ("?cursor=", HEADERS, 400),
        ("?since=yesterday", HEADERS, 400),
        ("?since=2020-01-01", HEADERS, 410),
        ("?since=0001-01-01", HEADERS, 410),
        ("?cursor=0123abcd.1.1", HEADERS, 410),
        (f"?cursor=0123abcd.1.{9 * 10**11}", HEADERS, None),
    ],
)
async def test_what_is_refused_is_refused_before_the_stream(
    store: Store, query: str, headers: dict[str, str], status: int | None
) -> None:
    async with store.server().running("127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(f"{url}{query}", headers=headers):
                found = None
        except aiohttp.WSServerHandshakeError as error:
            found = error.status
        assert found == status


async def test_a_plain_request_is_told_what_the_address_speaks(store: Store) -> None:
    async with (
        store.server().running("127.0.0.1", 0) as url,
        aiohttp.ClientSession() as session,
        session.get(url.replace("ws://", "http://"), headers=HEADERS) as response,
    ):
        assert response.status == 426


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "ümlaut-0123456789", "with space 0123456789"])
def test_a_token_that_protects_nothing_is_refused(store: Store, token: str) -> None:
    with pytest.raises(EventServerError, match="at least 16 ASCII characters"):
        EventServer(HistoryEvents(store.records, store.incidents), token)


async def test_a_port_that_is_taken_is_one_sentence(store: Store) -> None:
    async with store.server().running("127.0.0.1", 0) as url:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(EventServerError, match="Nothing can listen at"):
            async with store.server().running("127.0.0.1", port):
                pass


async def test_it_listens_on_this_machine_alone_unless_told_otherwise(store: Store) -> None:
    async with store.server().running(port=0) as url:
        assert url.startswith("ws://127.0.0.1:")


class Scripted:
    """Events of our choice, and a store that fails."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[HistoryEvent] | StorageError] = asyncio.Queue()
        self.has_begun = False
        self.past: list[HistoryEvent] | None = None

    async def new(self) -> list[HistoryEvent]:
        if not self.has_begun:
            self.has_begun = True
            return []
        batch = await self.batches.get()
        if isinstance(batch, StorageError):
            raise batch
        return batch

    async def since(self, since_seconds: float) -> list[HistoryEvent]:
        if self.past is None:
            raise StorageError("away")
        return self.past


def large_events(first: int, count: int) -> list[HistoryEvent]:
    return [
        HistoryEvent(f"e{number}", "decision", "2026-11-27T12:00:00Z", {"evidence": "x" * 100_000})
        for number in range(first, first + count)
    ]


async def read_to_the_end(client: Client) -> int:
    """How many events came before the connection ended."""
    read = 0
    async with asyncio.timeout(10):
        async for message in client.socket:
            read += message.type is aiohttp.WSMsgType.TEXT
    return read


async def test_a_program_that_does_not_read_is_disconnected_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    source = Scripted()
    server = EventServer(source, TOKEN, poll_seconds=0, send_seconds=0.3)
    async with server.running(port=0) as url, connected(url) as slow, connected(url) as quick:
        for batch in range(10):
            source.batches.put_nowait(large_events(20 * batch, 20))
        assert await quick.ids(200) == [f"e{number}" for number in range(200)]
        async with asyncio.timeout(10):
            while "read events too slowly" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.02)
        assert await read_to_the_end(slow) < 200
        source.batches.put_nowait(large_events(200, 1))
        assert await quick.ids(1) == ["e200"]


async def test_a_program_that_falls_behind_the_log_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "MAX_EVENTS", 10)
    source = Scripted()
    server = EventServer(source, TOKEN, poll_seconds=0, send_seconds=10)
    async with server.running(port=0) as url, connected(url) as slow, connected(url) as quick:
        for batch in range(40):
            source.batches.put_nowait(large_events(5 * batch, 5))
            await quick.ids(5)
        assert await read_to_the_end(slow) < 200
        assert slow.socket.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER


async def test_a_store_that_is_away_for_a_while_ends_no_stream() -> None:
    source = Scripted()
    async with EventServer(source, TOKEN, poll_seconds=0).running(port=0) as url, connected(url) as client:
        source.batches.put_nowait(StorageError("away"))
        source.batches.put_nowait(StorageError("away"))
        source.batches.put_nowait(large_events(0, 1))
        assert await client.ids(1) == ["e0"]


async def test_what_was_told_as_past_is_not_told_again_as_new() -> None:
    source = Scripted()
    source.past = large_events(0, 2)
    server = EventServer(source, TOKEN, poll_seconds=0, clock=lambda: NOON)
    async with server.running(port=0) as url, connected(url, "?since=2026-11-27T10:00:00Z") as client:
        found = await client.ids(2)
        source.batches.put_nowait(large_events(1, 2))
        assert found + await client.ids(1) == ["e0", "e1", "e2"]


async def test_a_past_that_cannot_be_read_is_to_be_asked_for_again() -> None:
    server = EventServer(Scripted(), TOKEN, poll_seconds=0, clock=lambda: NOON)
    async with server.running(port=0) as url, connected(url, "?since=2026-11-27T10:00:00Z") as client:
        assert (await client.socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert client.socket.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER


async def test_the_end_of_the_server_ends_its_streams(store: Store) -> None:
    async with aiohttp.ClientSession() as session:
        async with store.server().running(port=0) as url:
            socket = await session.ws_connect(url, headers=HEADERS)
            await socket.receive_str()
            receiving = asyncio.create_task(socket.receive())
        assert (await receiving).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
        await socket.close()
