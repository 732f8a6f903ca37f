"""Connections to PostgreSQL that close, go silent, lose an answer or are all taken, and a database that sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from app.storage.artifacts import Artifact, ArtifactKey
from app.storage.documents import Collection, Document, DocumentKey
from app.storage.ledger import TurnState
from app.storage.postgres import postgres_pool, postgres_session
from app.storage.postgres.postgres_keys import lock_of
from app.storage.postgres.postgres_session import PostgresSession
from app.storage.postgres.postgres_store import PostgresStore
from app.storage.storage_errors import StorageError
from tests.fakes.clock import Clock
from tests.fakes.postgres import Postgres
from tests.fakes.postgres_proxy import PostgresProxy
from tests.fakes.stores import ANN, begin, exchange, turn

pytestmark = pytest.mark.slow

KEY = DocumentKey(Collection("watches"), "contoso", "a")


@pytest.fixture
async def proxy(postgres: Postgres) -> AsyncIterator[PostgresProxy]:
    async with PostgresProxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
async def store(postgres: Postgres, proxy: PostgresProxy) -> AsyncIterator[PostgresStore]:
    """Behind the proxy, with its tables."""
    store = PostgresStore(postgres.database(port=proxy.port), clock=Clock())
    await store.ping()
    yield store
    await store.close()


async def test_a_worker_that_stalls_in_a_transaction_holds_nobody_up(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = (await begin(store)).record
    monkeypatch.setattr(postgres_session, "_BEGIN", postgres_session._BEGIN.replace("'10s'", "'200ms'"))
    stalls, tries = asyncio.Event(), []

    async def stalled(session: PostgresSession) -> None:
        async with session.transaction(lock=lock_of(ANN)):
            tries.append("lock")
            stalls.set()
            await asyncio.sleep(0.5 if len(tries) == 1 else 0)

    stalling = asyncio.create_task(store._pool.run(stalled))
    await stalls.wait()
    assert await store.start(record) is None
    assert not stalling.done()
    await stalling
    assert len(tries) == 2, "the server had undone the first"


async def test_a_call_that_is_cancelled_gives_its_connection_back(postgres: Postgres, store: PostgresStore) -> None:
    record = (await begin(store)).record
    lock = asyncio.create_task(hold_lock(postgres, seconds=30))
    await asyncio.sleep(0.1)
    waiting = [asyncio.create_task(store.start(record)) for _ in range(2 * postgres_pool._MAX_CONNECTIONS)]
    await asyncio.sleep(0.2)
    for call in waiting:
        call.cancel()
    await asyncio.wait(waiting)
    assert await asyncio.gather(*(store.find(record.key) for _ in range(12))) == [record] * 12
    lock.cancel()
    await asyncio.wait([lock])


async def test_a_call_for_which_no_connection_is_free_is_an_error_after_a_time(store: PostgresStore) -> None:
    busy, going_on = asyncio.Semaphore(0), asyncio.Event()

    async def keeps_its_connection(session: PostgresSession) -> None:
        busy.release()
        await going_on.wait()

    keeping = [
        asyncio.create_task(store._pool.run(keeps_its_connection)) for _ in range(postgres_pool._MAX_CONNECTIONS)
    ]
    for _ in keeping:
        await busy.acquire()
    with pytest.raises(StorageError):
        await store._pool.run(lambda session: session.value("SELECT 1"), seconds=0.2)
    going_on.set()
    await asyncio.gather(*keeping)
    await store.ping()


async def test_a_closed_connection_costs_no_call(store: PostgresStore, proxy: PostgresProxy) -> None:
    record = (await begin(store)).record
    await asyncio.gather(*(store.ping() for _ in range(4)))
    proxy.close_connections()
    assert await asyncio.gather(*(store.find(record.key) for _ in range(6))) == [record] * 6


async def test_connections_that_the_server_ends_cost_no_call(postgres: Postgres, store: PostgresStore) -> None:
    record = (await begin(store)).record
    await postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    record = await store.change(record.changed(checkpoint="so far"))
    waiting = asyncio.create_task(hold_lock(postgres, seconds=30))
    await asyncio.sleep(0.1)
    starting = asyncio.create_task(store.start(record))
    await asyncio.sleep(0.1)
    # In the middle of a transaction now, while it waits for the lock.
    await postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert await starting is None
    await asyncio.wait([waiting])


async def hold_lock(postgres: Postgres, seconds: float) -> None:
    await postgres.execute("SELECT pg_advisory_xact_lock($1), pg_sleep($2)", lock_of(ANN), seconds)


async def calls(store: PostgresStore, lose: Callable[[], None]) -> list[object]:
    """Every kind of call, each after `lose`."""
    queue, documents, artifacts = store.queue("turns"), store.documents(), store.artifacts()
    found: list[object] = []
    lose()
    entered = await store.begin(turn(), history_limit=9)
    assert entered is not None
    lose()
    record = await store.change(entered.record.changed(checkpoint="so far"))
    lose()
    found.append(await store.start(record))
    lose()
    await store.end(record, TurnState.ANSWERED, exchange(1))
    lose()
    found.append(await store.recent(ANN, 9))
    lose()
    receipt = await queue.put("m", visibility_timeout=0)
    lose()
    receipt = await queue.update_visibility(receipt, visibility_timeout=0)
    lose()
    (message,) = await queue.receive(9, visibility_timeout=60)
    found.append((message.body, message.dequeue_count))
    lose()
    await queue.delete(message.receipt)
    found.append(await queue.receive(9, visibility_timeout=60))
    lose()
    document = await documents.put(Document(KEY, "1"))
    lose()
    document = await documents.put(replace(document, value="2"))
    lose()
    found.append(await documents.get(KEY) == document)
    lose()
    await artifacts.put(Artifact(ArtifactKey(ANN, "a"), b"1", "text/csv"))
    lose()
    found.append(await artifacts.get(ArtifactKey(ANN, "a")))
    lose()
    await store.forget(ANN)
    found.append((await store.recent(ANN, 9), await artifacts.get(ArtifactKey(ANN, "a"))))
    lose()
    found.append(await store.delete_before(2_000_000_000.0) >= 0)
    return found


@pytest.mark.parametrize("requests_until_then", [0, 1, 2])
async def test_a_call_whose_answer_is_lost_is_repeated_and_knows_what_it_has_written(
    store: PostgresStore, proxy: PostgresProxy, postgres: Postgres, requests_until_then: int
) -> None:
    def lose() -> None:
        proxy.lost_answers, proxy.requests_until_then = 1, requests_until_then

    undisturbed = PostgresStore(postgres.database(), clock=Clock())
    expected = await calls(undisturbed, lambda: None)
    assert await calls(store, lose) == expected
    assert proxy.answers_lost > 4
    await undisturbed.close()


async def test_of_a_deletion_whose_answer_is_lost_nobody_is_told_that_it_was_theirs(
    store: PostgresStore, proxy: PostgresProxy
) -> None:
    documents = store.documents()
    document = await documents.put(Document(KEY, "1"))
    # BEGIN, DELETE: nothing is deleted yet, and it is done again.
    for requests in (0, 1):
        proxy.lost_answers, proxy.requests_until_then = 1, requests
        assert await documents.delete_unchanged(replace(document, version="older")) is False
    # The third request is COMMIT.
    proxy.lost_answers, proxy.requests_until_then = 1, 2
    with pytest.raises(StorageError, match="not known"):
        await documents.delete_unchanged(document)
    assert await documents.get(KEY) is None
    assert await documents.delete_unchanged(document) is False


async def test_connections_that_go_silent_are_given_up_for_another(store: PostgresStore, proxy: PostgresProxy) -> None:
    await asyncio.gather(*(store._pool.run(lambda session: session.value("SELECT pg_sleep(0.1)")) for _ in range(3)))
    proxy.silence()
    assert await store._pool.run(lambda session: session.value("SELECT 7"), seconds=1.0) == 7


async def test_a_database_that_sleeps_is_waited_for(store: PostgresStore, proxy: PostgresProxy) -> None:
    record = (await begin(store)).record
    proxy.refusing = True
    proxy.close_connections()
    asleep = [asyncio.create_task(store.find(record.key)) for _ in range(3)]
    await asyncio.sleep(0.5)
    assert not any(call.done() for call in asleep)
    proxy.refusing = False
    assert await asyncio.gather(*asleep) == [record] * 3


async def test_a_database_that_does_not_come_back_is_an_error_after_a_time(
    store: PostgresStore, proxy: PostgresProxy
) -> None:
    proxy.refusing = True
    proxy.close_connections()
    with pytest.raises(StorageError, match=r"Connection\w+Error|unexpected connection_lost"):
        await store._pool.run(lambda session: session.value("SELECT 1"), seconds=0.3)
    proxy.refusing = False
    await store.ping()
