"""Which chats watch which jobs, over several pages of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.jobs.chat.watches import JOB_WATCHES, Watch, Watches
from app.storage.conversations import ConversationKey
from app.storage.documents import Document, DocumentKey
from app.storage.sqlite.sqlite_store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    monkeypatch.setattr("app.storage.documents.MAX_PAGE_SIZE", 2)
    opened = SqliteStore(tmp_path / "w.sqlite")
    yield opened
    await opened.close()


def watch(job_id: int, chat: str) -> Watch:
    return Watch(job_id=job_id, job_name=f"job {9 - job_id}", tenant="t", conversation=chat)


async def test_chats_are_found_by_any_of_the_jobs_and_jobs_by_their_chat(store: SqliteStore) -> None:
    watches = Watches(store.documents(), workspace="w")
    for job_id in range(1, 8):
        for chat in ("a", "b") if job_id < 7 else ("c",):
            assert await watches.add(watch(job_id, chat))
            assert not await watches.add(watch(job_id, chat))
    for wanted, chats in (({1}, {"a", "b"}), ({7, 1}, {"a", "b", "c"}), ({*range(2, 7)}, {"a", "b"}), ({70}, set())):
        found = await watches.of_jobs(wanted)
        assert sorted(each.conversation for each in found) == sorted(chats), wanted
    assert [each.job_id for each in await watches.of_chat(ConversationKey("t", "a", "thread"))] == [6, 5, 4, 3, 2, 1]
    assert await watches.job_ids() == frozenset(range(1, 8))
    assert await Watches(store.documents(), workspace="other").job_ids() == frozenset()


async def test_what_another_version_wrote_hides_nothing(store: SqliteStore) -> None:
    watches = Watches(store.documents(), workspace="w")
    await watches.add(watch(1, "a"))
    (document,) = (await store.documents().list_page(JOB_WATCHES, "w")).documents
    await store.documents().put(Document(DocumentKey(JOB_WATCHES, "w", "1/new"), '{"v": 2}'))
    assert document.value
    assert [each.conversation for each in await watches.of_jobs({1})] == ["a"]


async def test_forgetting_a_chat_leaves_the_others(store: SqliteStore) -> None:
    watches = Watches(store.documents(), workspace="w")
    for job_id in (1, 2, 3):
        await watches.add(watch(job_id, "a"))
        await watches.add(watch(job_id, "b"))
    await watches.forget(ConversationKey("t", "a"))
    assert {each.conversation for each in await watches.of_jobs({1, 2, 3})} == {"b"}
