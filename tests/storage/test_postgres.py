"""A PostgreSQL database: several processes at once, closed connections, a database that sleeps, other passwords."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.storage.artifacts import Artifact, ArtifactKey
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey
from app.storage.factory import open_storage
from app.storage.ledger import TurnRecord, TurnState
from app.storage.postgres import postgres_pool, postgres_session
from app.storage.postgres.postgres_keys import lock_of
from app.storage.postgres.postgres_session import PostgresSession
from app.storage.postgres.postgres_store import PostgresStore
from app.storage.storage_errors import StorageError
from tests.fakes.postgres import USER, Postgres
from tests.fakes.postgres_proxy import PostgresProxy
from tests.fakes.stores import ANN, Clock, exchange, turn

pytestmark = pytest.mark.slow

_IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
ROOT = Path(__file__).parents[2]
WATCHES = Collection("watches")
KEY = DocumentKey(WATCHES, "contoso", "a")


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


async def begun(store: PostgresStore, activity: str = "a1") -> TurnRecord:
    entered = await store.begin(turn(activity), history_limit=9)
    assert entered is not None, "taken for a repeat"
    return entered.record


WORKER = """
    import asyncio, sys
    from app.storage.conversations import ConversationKey, StoredMessage
    from app.storage.ledger import TurnKey, TurnRecord, TurnState
    from app.storage.postgres.postgres_store import PostgresStore
    from app.storage.postgres_database import PostgresDatabase
    from pydantic import SecretStr

    KEY = ConversationKey("tenant", "shared")

    async def main():
        store = PostgresStore(PostgresDatabase(url=SecretStr(sys.argv[1]), schema=sys.argv[2]))
        entered, taken = 0, 0
        queue = store.queue("turns")
        for n in range(40):
            record = TurnRecord(TurnKey(KEY, f"a{n}"), 0, TurnState.STARTED, sys.argv[3], 60.0)
            begun = await store.begin(record, history_limit=1)
            if begun is not None:
                entered += 1
                await queue.put(str(n), visibility_timeout=0)
                await store.end(begun.record, TurnState.ANSWERED, [StoredMessage("user", str(n))])
            taken += len(await queue.receive(1, visibility_timeout=600))
        print(entered, taken)
        await store.close()

    asyncio.run(main())
"""


async def test_processes_create_the_tables_once_and_enter_each_turn_and_take_each_message_once(
    postgres: Postgres,
) -> None:
    database = postgres.database()
    command = [sys.executable, "-c", textwrap.dedent(WORKER), postgres.url, database.schema]
    workers = [
        await asyncio.create_subprocess_exec(*command, f"worker-{n}", cwd=ROOT, stdout=PIPE, stderr=PIPE)
        for n in range(3)
    ]
    ended = await asyncio.wait_for(asyncio.gather(*(worker.communicate() for worker in workers)), 60)
    assert [errors.decode() for _, errors in ended] == ["", "", ""]
    counts = [tuple(map(int, output.split())) for output, _ in ended]
    store = PostgresStore(database)
    left = len(await store.queue("turns").receive(999, visibility_timeout=1))
    assert sum(entered for entered, _ in counts) == 40
    assert sum(taken for _, taken in counts) + left == 40
    assert len(await store.recent(ConversationKey("tenant", "shared"), 999)) == 40
    await store.close()


async def test_a_worker_that_stalls_in_a_transaction_holds_nobody_up(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await begun(store)
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
    record = await begun(store)
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


@pytest.mark.parametrize(
    ("host", "ssl_mode", "trusted", "encrypted"),
    [
        ("127.0.0.1", "require", False, True),
        ("localhost", "verify-full", True, True),
        ("127.0.0.1", "verify-ca", True, True),
        ("localhost", "verify-full", False, None),
        ("127.0.0.1", "verify-full", True, None),
    ],
)
async def test_a_certificate_is_verified_as_far_as_the_setting_says(
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    ssl_mode: str,
    trusted: bool,
    encrypted: bool | None,
) -> None:
    if trusted:
        monkeypatch.setenv("PGSSLROOTCERT", str(postgres.certificate))
    store = PostgresStore(postgres.database(host=host, ssl_mode=ssl_mode))
    call = store._pool.run(lambda session: session.value(_IS_ENCRYPTED))
    if encrypted is None:
        with pytest.raises(StorageError, match="SSLCertVerificationError"):
            await call
    else:
        assert await call is encrypted
    await store.close()


async def test_a_turn_is_closed_with_its_messages_or_not_at_all(postgres: Postgres) -> None:
    database = postgres.database()
    store = PostgresStore(database)
    record = await begun(store)
    await postgres.execute(f"ALTER TABLE {database.schema}.message ADD CHECK (role <> 'assistant')")
    with pytest.raises(StorageError, match=r"CheckViolationError 23514$"):
        await store.end(record, TurnState.ANSWERED, exchange(1))
    assert await store.find(record.key) == record
    await store.end(record, TurnState.ANSWERED, exchange(1)[:1])
    assert await store.recent(ANN, 9) == exchange(1)[:1]
    await store.close()


async def test_tables_that_are_gone_are_made_again(postgres: Postgres) -> None:
    database = postgres.database()
    store = PostgresStore(database)
    await begun(store)
    await postgres.execute(f"DROP SCHEMA {database.schema} CASCADE")
    await asyncio.gather(*(store.ping() for _ in range(3)))
    await begun(store)
    await store.close()


async def test_tables_of_another_version_are_refused_and_left_as_they_are(postgres: Postgres) -> None:
    database = postgres.database()
    store = PostgresStore(database)
    await store.ping()
    await store.close()
    await postgres.execute(f"UPDATE {database.schema}.storage_version SET version = 99")
    store = PostgresStore(database)
    for _ in range(2):
        with pytest.raises(StorageError, match=f"{database.schema} was written by another version"):
            await store.ping()
    await store.close()


@pytest.fixture
async def guest(postgres: Postgres) -> str:
    """A role without any right, whose password is "first"."""
    role = f"guest_{uuid.uuid4().hex}"
    await postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
    return role


async def first() -> str:
    return "first"


async def test_a_role_that_may_not_create_is_told_what_it_needs(postgres: Postgres, guest: str) -> None:
    database = postgres.database(user=guest, password=first)
    store = PostgresStore(database)
    with pytest.raises(StorageError, match=r"permission denied for database postgres; the role needs CREATE on the da"):
        await store.ping()
    await postgres.execute(f"CREATE SCHEMA {database.schema}")
    with pytest.raises(StorageError, match=f"permission denied for schema {database.schema}; .* own the schema"):
        await store.ping()
    await postgres.execute(f"ALTER SCHEMA {database.schema} OWNER TO {guest}")
    await store.ping()
    await store.close()


async def test_a_password_is_read_again_for_each_connection(postgres: Postgres, guest: str) -> None:
    await postgres.execute(f"GRANT CREATE ON DATABASE postgres TO {guest}")
    given = ["first"]

    async def password() -> str:
        return given.pop(0)

    store = PostgresStore(postgres.database(user=guest, password=password))
    await store.ping()
    await postgres.execute(f"ALTER ROLE {guest} PASSWORD 'second'")
    await store.ping()
    assert given == [], "a connection outlives its password"
    await postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    # One that has just been replaced is refused, and is read once more.
    given += ["first", "second"]
    await store.ping()
    assert given == []
    await store.close()


async def test_a_wrong_password_is_refused_soon_and_is_not_shown(postgres: Postgres) -> None:
    async def wrong() -> str:
        return "s3cret"

    async def none() -> str:
        raise ValueError("s3cret")

    for password, message in ((wrong, f'password authentication failed for user "{USER}"'), (none, "ValueError")):
        store = PostgresStore(postgres.database(password=password))
        began = asyncio.get_running_loop().time()
        with pytest.raises(StorageError, match=message) as caught:
            await store.ping()
        assert asyncio.get_running_loop().time() - began < 5
        assert "s3cret" not in str(caught.value)
        await store.close()


async def test_a_database_that_is_not_there_is_an_error_at_once(postgres: Postgres) -> None:
    store = PostgresStore(postgres.database(database="missing"))
    with pytest.raises(StorageError, match='database "missing" does not exist'):
        await store.ping()
    await store.close()


async def test_stores_that_connect_at_once_create_the_tables_once(postgres: Postgres) -> None:
    database = postgres.database()
    stores = [PostgresStore(database) for _ in range(5)]
    results = await asyncio.gather(*(each.begin(turn(), history_limit=1) for each in stores for _ in range(3)))
    assert len({each.record for each in results if each is not None}) == 1
    for each in stores:
        await each.close()


async def test_everything_is_in_one_database_and_outlives_a_restart(postgres: Postgres) -> None:
    database = postgres.database()
    for restarted in (False, True):
        storage = open_storage(database)
        queue = storage.open_queue("turns")
        if restarted:
            assert [message.body for message in await queue.receive(9, visibility_timeout=1)] == ["m\0"]
            assert await storage.conversations.recent(ANN, 9) == exchange(1)
            assert (await storage.documents.list_page(WATCHES, "contoso")).documents[0].value == "{}"
            assert await storage.artifacts.get(ArtifactKey(ANN, "a")) is not None
        else:
            await queue.put("m\0", visibility_timeout=0)
            await storage.open_queue("other").put("other", visibility_timeout=0)
            entered = await storage.conversations.begin(turn(), history_limit=1)
            assert entered is not None
            await storage.conversations.end(entered.record, TurnState.ANSWERED, exchange(1))
            await storage.documents.put(Document(KEY, "{}"))
            await storage.artifacts.put(Artifact(ArtifactKey(ANN, "a"), b"1", "text/csv"))
        await queue.close()
        await storage.close()
        await storage.close()
        with pytest.raises(StorageError, match="closed"):
            await queue.ping()


async def test_a_closed_connection_costs_no_call(store: PostgresStore, proxy: PostgresProxy) -> None:
    record = await begun(store)
    await asyncio.gather(*(store.ping() for _ in range(4)))
    proxy.close_connections()
    assert await asyncio.gather(*(store.find(record.key) for _ in range(6))) == [record] * 6


async def test_connections_that_the_server_ends_cost_no_call(postgres: Postgres, store: PostgresStore) -> None:
    record = await begun(store)
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


Call = Callable[[PostgresStore], Awaitable[object]]


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
    record = await begun(store)
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
