"""A PostgreSQL database: several processes at once, its tables, who signs in and how."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from app.storage.artifacts import Artifact, ArtifactKey
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey
from app.storage.ledger import TurnState
from app.storage.postgres.postgres_storage import open_database
from app.storage.postgres.postgres_store import PostgresStore
from app.storage.storage_errors import StorageError
from tests.fakes.postgres import USER, Postgres
from tests.fakes.stores import ANN, begin, exchange, turn

pytestmark = pytest.mark.slow

_IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
ROOT = Path(__file__).parents[2]
WATCHES = Collection("watches")
KEY = DocumentKey(WATCHES, "contoso", "a")


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
    record = (await begin(store)).record
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
    await begin(store)
    await postgres.execute(f"DROP SCHEMA {database.schema} CASCADE")
    await asyncio.gather(*(store.ping() for _ in range(3)))
    await begin(store)
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


async def test_messages_of_a_version_without_the_time_of_insertion_have_it_from_their_end(postgres: Postgres) -> None:
    database = postgres.database()
    earlier = PostgresStore(database)
    put = await earlier.queue("turns").put("m", visibility_timeout=0)
    await earlier.close()
    await postgres.execute(f"ALTER TABLE {database.schema}.queue_message DROP COLUMN inserted_at")
    stores = [PostgresStore(database) for _ in range(3)]
    await asyncio.gather(*(each.ping() for each in stores))
    (message,) = await stores[0].queue("turns").receive(9, visibility_timeout=1)
    assert message.inserted_at == pytest.approx(put.inserted_at)
    for each in stores:
        await each.close()


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
        storage = open_database(database)
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
