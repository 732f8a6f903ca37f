"""Conversations on a laptop survive a restart, and never mix."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.sqlite import SqliteStore

ANN = ConversationKey("tenant", "ann")


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    log = SqliteStore(tmp_path / "folder" / "conversations.sqlite")
    yield log
    await log.close()


def exchange(n: int) -> list[StoredMessage]:
    return [StoredMessage("user", f"question {n}"), StoredMessage("assistant", f"answer {n}", complete=n % 2 == 0)]


async def test_the_newest_messages_come_back_oldest_first(log: SqliteStore) -> None:
    for n in range(5):
        await log.append(ANN, exchange(n))
    assert await log.recent(ANN, 4) == [*exchange(3), *exchange(4)]


async def test_conversations_and_tenants_never_mix(log: SqliteStore) -> None:
    await log.append(ANN, exchange(1))
    assert await log.recent(ConversationKey("tenant", "bob"), 10) == []
    assert await log.recent(ConversationKey("other tenant", "ann"), 10) == []


async def test_forgetting_one_conversation_leaves_the_others(log: SqliteStore) -> None:
    bob = ConversationKey("tenant", "bob")
    await log.append(ANN, exchange(1))
    await log.append(bob, exchange(2))
    await log.forget(ANN)
    assert await log.recent(ANN, 10) == []
    assert await log.recent(bob, 10) == exchange(2)


async def test_a_conversation_survives_a_restart(log: SqliteStore, tmp_path: Path) -> None:
    await log.append(ANN, exchange(1))
    await log.close()
    reopened = SqliteStore(tmp_path / "folder" / "conversations.sqlite")
    assert await reopened.recent(ANN, 10) == exchange(1)
    await reopened.close()


async def test_a_file_that_is_no_database_is_refused_each_time_and_left_closed(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    file.write_bytes(b"no database" * 500)
    log = SqliteStore(file)
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError):
            await log.recent(ANN, 1)
        with pytest.raises(sqlite3.DatabaseError):
            await log.ping()
    await log.close()


async def test_a_ping_reads_and_changes_nothing(log: SqliteStore) -> None:
    await log.ping()
    await log.append(ANN, exchange(1))
    await log.ping()
    assert await log.recent(ANN, 10) == exchange(1)


async def test_an_append_is_all_or_nothing(log: SqliteStore) -> None:
    unstorable = StoredMessage("assistant", "\ud800")
    with pytest.raises(UnicodeEncodeError):
        await log.append(ANN, [StoredMessage("user", "kept?"), unstorable])
    assert await log.recent(ANN, 10) == []
    await log.append(ANN, exchange(1))
    assert await log.recent(ANN, 10) == exchange(1)
