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
from app.storage.ledger import Predecessor, TurnRecord, TurnState
from app.storage.sqlite.sqlite_schema import _TABLES, prepare
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from tests.fakes.stores import ANN, Clock, exchange, turn

ROOT = Path(__file__).parents[2]
OLD = ConversationKey("tenant", "ann")

# As the first two versions of this file made them.
VERSION_0 = """
CREATE TABLE message (
  tenant TEXT NOT NULL, conversation TEXT NOT NULL, position INTEGER NOT NULL, role TEXT NOT NULL, text TEXT NOT NULL,
  complete INTEGER NOT NULL, PRIMARY KEY (tenant, conversation, position)
) WITHOUT ROWID;
INSERT INTO message VALUES ('tenant', 'ann', 1, 'user', 'question 1', 1);
INSERT INTO message VALUES ('tenant', 'ann', 2, 'assistant', 'answer 1', 1);
"""
VERSION_1 = """
CREATE TABLE message (
  tenant TEXT NOT NULL, conversation TEXT NOT NULL, position INTEGER NOT NULL, role TEXT NOT NULL, text TEXT NOT NULL,
  complete INTEGER NOT NULL, written REAL NOT NULL DEFAULT 0, PRIMARY KEY (tenant, conversation, position)
) WITHOUT ROWID;
CREATE TABLE turn (
  tenant TEXT NOT NULL, conversation TEXT NOT NULL, activity TEXT NOT NULL, ticket INTEGER NOT NULL,
  state TEXT NOT NULL, owner TEXT NOT NULL, lease_until REAL NOT NULL, tries INTEGER NOT NULL, begun TEXT NOT NULL,
  shown TEXT NOT NULL, version INTEGER NOT NULL, written REAL NOT NULL, PRIMARY KEY (tenant, conversation, activity)
) WITHOUT ROWID;
CREATE INDEX turn_in_order ON turn (tenant, conversation, ticket);
INSERT INTO message VALUES ('tenant', 'ann', 1, 'user', 'question 1', 1, 5);
INSERT INTO message VALUES ('tenant', 'ann', 2, 'assistant', 'answer 1', 1, 5);
INSERT INTO turn VALUES ('tenant', 'ann', 'a1', 1, 'answered', 'w', 1, 1, '', '', 2, 5);
INSERT INTO turn VALUES ('tenant', 'ann', 'a2', 2, 'started', 'w', 1, 1, 'begun', '', 1, 5);
PRAGMA user_version = 1;
"""
# What the third has in common with today's.
VERSION_2 = f"""
{_TABLES.replace("  started INTEGER NOT NULL,", "")}
INSERT INTO message VALUES ('tenant', 'ann', '', 100, 'user', 'question 1', 1, 5);
INSERT INTO message VALUES ('tenant', 'ann', '', 101, 'assistant', 'answer 1', 1, 5);
INSERT INTO turn VALUES ('tenant', 'ann', '', 'a1', 1, 'answered', 'w', 1, 1, '', '', 2, 5);
INSERT INTO turn VALUES ('tenant', 'ann', '', 'a2', 2, 'started', 'w', 1, 1, 'begun', '', 1, 5);
INSERT INTO queued VALUES ('turns', 'm', 'a message', 'p', 0, 1e12, 0);
PRAGMA user_version = 2;
"""


def older(path: Path, script: str) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return path


async def answered(store: SqliteStore, n: int, key: ConversationKey = ANN) -> TurnRecord:
    entered = await store.begin(turn(f"new {n}", key), remember=0)
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


@pytest.mark.parametrize("script", [VERSION_0, VERSION_1, VERSION_2])
async def test_a_file_of_an_older_version_is_taken_over_with_all_that_is_in_it(tmp_path: Path, script: str) -> None:
    clock = Clock()
    store = SqliteStore(older(tmp_path / "old.sqlite", script), clock=clock)
    assert await store.recent(OLD, 9) == exchange(1)
    await answered(store, 3, OLD)
    assert await store.recent(OLD, 9) == [*exchange(1), *exchange(3)]
    await store.close()
    store = SqliteStore(tmp_path / "old.sqlite", clock=clock)
    assert await store.recent(OLD, 9) == [*exchange(1), *exchange(3)]
    # Of the first version nothing says how old it is: it counts from the day on which it was taken over.
    assert await store.delete_before(clock.now - 1) == (0 if script is VERSION_0 else 4)
    await store.close()


@pytest.mark.parametrize("script", [VERSION_1, VERSION_2])
async def test_the_turns_of_an_older_version_are_still_known(tmp_path: Path, script: str) -> None:
    store = SqliteStore(older(tmp_path / "old.sqlite", script))
    assert await store.begin(turn("a1", OLD), remember=0) is None
    following = await store.begin(turn("a3", OLD), remember=0)
    assert following is not None
    assert (following.has_predecessor, await store.start(following.record)) == (True, Predecessor(2, 1.0))
    unfinished = await store.find(turn("a2", OLD).key)
    assert unfinished is not None
    await store.end(unfinished, TurnState.FAILED, [])
    assert await store.start(following.record) is None
    assert [taken.body for taken in await store.queue("turns").take(9, visibility_timeout=1)] == (
        ["a message"] if script is VERSION_2 else []
    )
    await store.close()


async def test_a_file_of_a_later_version_is_used_as_it_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite")
    await answered(store, 1)
    await store.close()
    older(tmp_path / "s.sqlite", "ALTER TABLE message ADD COLUMN mood TEXT; PRAGMA user_version = 9;")
    store = SqliteStore(tmp_path / "s.sqlite")
    await answered(store, 2)
    assert await store.recent(ANN, 9) == [*exchange(1), *exchange(2)]
    await store.close()


async def test_an_older_file_that_cannot_be_taken_over_stays_as_it_was(tmp_path: Path) -> None:
    broken = "DELETE FROM message; ALTER TABLE message RENAME COLUMN text TO words; PRAGMA user_version = 1;"
    path = older(tmp_path / "old.sqlite", VERSION_1 + broken)
    store = SqliteStore(path)
    with pytest.raises(StorageError):
        await store.ping()
    await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT COUNT(*) FROM turn").fetchone() == (2,)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


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
            begun = await store.begin(turn(f"a{n}", owner=sys.argv[2]), remember=1)
            if begun is not None:
                entered += 1
                await queue.put(str(n), visibility_timeout=0)
                await store.end(begun.record, TurnState.ANSWERED, exchange(n))
            taken += len(await queue.take(1, visibility_timeout=600))
        print(entered, taken)
        await store.close()

    asyncio.run(main())
"""


@pytest.mark.parametrize("script", [None, VERSION_1])
async def test_processes_that_share_a_file_enter_each_turn_and_take_each_message_once(
    tmp_path: Path, script: str | None
) -> None:
    path = tmp_path / "shared.sqlite"
    if script:
        older(path, script)
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(path)]
    workers = [
        await asyncio.create_subprocess_exec(*command, f"worker-{n}", cwd=ROOT, stdout=PIPE, stderr=PIPE)
        for n in range(3)
    ]
    ended = await asyncio.wait_for(asyncio.gather(*(worker.communicate() for worker in workers)), 60)
    assert [errors.decode() for _, errors in ended] == ["", "", ""]
    counts = [tuple(map(int, output.split())) for output, _ in ended]
    store = SqliteStore(path)
    left = len(await store.queue("turns").take(999, visibility_timeout=1))
    assert sum(entered for entered, _ in counts) == 60
    assert sum(taken for _, taken in counts) + left == 60
    assert len(await store.recent(ANN, 999)) == 120
    await store.close()


async def test_a_file_that_is_no_database_is_refused_each_time_and_left_closed(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    file.write_bytes(b"no database" * 500)
    store = SqliteStore(file)
    for call in (lambda: store.recent(ANN, 1), store.ping, lambda: store.queue("turns").take(1, visibility_timeout=1)):
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


async def test_an_end_is_all_or_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite")
    entered = await store.begin(turn(), remember=0)
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


def test_a_new_file_that_another_worker_is_opening_is_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.sqlite", factory=Contended)) as connection:
        prepare(connection, 0.0)
        assert connection.execute("SELECT COUNT(*) FROM message").fetchone() == (0,)
