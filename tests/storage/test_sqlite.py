"""A file on a laptop: it survives restarts, older versions, other processes, and what is no database is refused."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import textwrap
import threading
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import TurnRecord, TurnState
from app.storage.sqlite.sqlite_schema import prepare
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from tests.fakes.stores import ANN, exchange, turn

ROOT = Path(__file__).parents[2]


def older(path: Path, script: str) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), str(connection.execute("PRAGMA user_version").fetchone())]


async def answered(store: SqliteStore, n: int, key: ConversationKey = ANN) -> TurnRecord:
    entered = await store.begin(turn(f"new {n}", key), history_limit=0)
    assert entered is not None
    await store.end(entered.record, TurnState.ANSWERED, exchange(n))
    return entered.record


async def test_a_conversation_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "agent.sqlite"
    store = SqliteStore(path)
    await answered(store, 1)
    await store.close()
    store = SqliteStore(path)
    assert await store.recent(ANN, 10) == exchange(1)
    await store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps people apart by their profiles")
@pytest.mark.parametrize("there_already", [False, True])
async def test_what_people_say_is_readable_by_its_owner_only(tmp_path: Path, there_already: bool) -> None:
    file = tmp_path / "data" / "conversations.sqlite"
    if there_already:
        file.parent.mkdir(mode=0o755)
        file.touch(mode=0o644)
    store = SqliteStore(file)
    await answered(store, 1)
    permissions = {path.name: path.stat().st_mode & 0o077 for path in file.parent.iterdir()}
    await store.close()
    assert permissions.pop("conversations.sqlite") == 0
    assert set(permissions.values()) <= {0}
    assert there_already or file.parent.stat().st_mode & 0o077 == 0


OTHER_VERSIONS = [
    "CREATE TABLE message (tenant TEXT NOT NULL, text TEXT NOT NULL);",
    "CREATE TABLE message (tenant TEXT NOT NULL, text TEXT NOT NULL); PRAGMA user_version = 3;",
    "CREATE TABLE message (tenant TEXT NOT NULL, text TEXT NOT NULL); PRAGMA user_version = 99;",
]


@pytest.mark.parametrize("script", OTHER_VERSIONS)
async def test_a_file_of_another_version_is_refused_with_its_name_and_left_as_it_was(
    tmp_path: Path, script: str
) -> None:
    path = older(tmp_path / "agent.sqlite", script + "INSERT INTO message VALUES ('tenant', 'question');")
    before = list(dump(path))
    store = SqliteStore(path)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"agent\.sqlite was written by another version .* delete it$"):
            await store.ping()
    await store.close()
    assert list(dump(path)) == before


WORKER = """
    import asyncio, sys
    from pathlib import Path
    from app.storage.ledger import TurnState
    from app.storage.sqlite.sqlite_store import SqliteStore
    from tests.fakes.stores import exchange, turn

    async def main():
        store = SqliteStore(Path(sys.argv[1]))
        entered, taken = 0, 0
        queue = store.queue("turns")
        for n in range(60):
            begun = await store.begin(turn(f"a{n}", owner=sys.argv[2]), history_limit=1)
            if begun is not None:
                entered += 1
                await queue.put(str(n), visibility_timeout=0)
                await store.end(begun.record, TurnState.ANSWERED, exchange(n))
            taken += len(await queue.receive(1, visibility_timeout=600))
        print(entered, taken)
        await store.close()

    asyncio.run(main())
"""


async def test_processes_that_share_a_file_enter_each_turn_and_take_each_message_once(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(path)]
    workers = [
        await asyncio.create_subprocess_exec(*command, f"worker-{n}", cwd=ROOT, stdout=PIPE, stderr=PIPE)
        for n in range(3)
    ]
    ended = await asyncio.wait_for(asyncio.gather(*(worker.communicate() for worker in workers)), 60)
    assert [errors.decode() for _, errors in ended] == ["", "", ""]
    counts = [tuple(map(int, output.split())) for output, _ in ended]
    store = SqliteStore(path)
    left = len(await store.queue("turns").receive(999, visibility_timeout=1))
    assert sum(entered for entered, _ in counts) == 60
    assert sum(taken for _, taken in counts) + left == 60
    assert len(await store.recent(ANN, 999)) == 120
    await store.close()


async def test_a_file_that_is_no_database_is_refused_each_time_and_left_closed(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    file.write_bytes(b"no database" * 500)
    store = SqliteStore(file)
    for call in (
        lambda: store.recent(ANN, 1),
        store.ping,
        lambda: store.queue("turns").receive(1, visibility_timeout=1),
    ):
        with pytest.raises(StorageError, match="DatabaseError") as caught:
            await call()
        assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    await store.close()


async def test_a_folder_that_cannot_be_made_is_a_failure_of_storage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqliteStore(tmp_path / "file" / "agent.sqlite")
    with pytest.raises(StorageError):
        await store.ping()
    await store.close()


async def test_a_closed_store_says_so_and_may_be_closed_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite")
    queue = store.queue("turns")
    await store.close()
    await store.close()
    for call in (store.ping, lambda: queue.put("m", visibility_timeout=0)):
        with pytest.raises(StorageError, match="closed"):
            await call()


async def test_a_turn_is_closed_with_its_messages_or_not_at_all(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite")
    entered = await store.begin(turn(), history_limit=0)
    assert entered is not None
    older(tmp_path / "s.sqlite", "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'full'); END;")
    with pytest.raises(StorageError, match="full"):
        await store.end(entered.record, TurnState.ANSWERED, exchange(1))
    assert await store.find(entered.record.key) == entered.record
    older(tmp_path / "s.sqlite", "DROP TRIGGER full;")
    await store.end(entered.record, TurnState.ANSWERED, [StoredMessage("user", "q")])
    assert await store.recent(ANN, 9) == [StoredMessage("user", "q")]
    await store.close()


async def test_store_and_queues_share_one_thread(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite")
    before = set(threading.enumerate())
    await asyncio.gather(*(store.queue(f"q{n}").put("m", visibility_timeout=0) for n in range(5)), store.ping())
    assert len(set(threading.enumerate()) - before) == 1
    await store.close()


class Contended(sqlite3.Connection):
    """Another worker opens the same new file: SQLite refuses to change the journal at once, without any patience."""

    refusals = 3

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if "journal_mode" in statement and self.refusals:
            self.refusals -= 1
            raise sqlite3.OperationalError("database is locked")
        return super().execute(statement, *arguments)


def test_a_new_file_that_another_process_is_opening_is_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.sqlite", factory=Contended)) as connection:
        prepare(connection)
        assert connection.execute("SELECT COUNT(*) FROM message").fetchone() == (0,)
