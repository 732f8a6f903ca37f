"""What is older than the retention is deleted by the server itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent_server.composition.retention import Retention
from agent_server.responses.conversation_records import ConversationRecords
from app.files.uploads import Uploads
from app.storage.factory import Storage
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from tests.fakes.virtual_time import VirtualTimeLoop

_DAY = 24 * 3600.0


def test_what_has_expired_is_deleted_soon_after_the_start_and_every_few_hours_though_storage_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        clock = asyncio.get_running_loop().time
        store = SqliteStore(tmp_path / "c.sqlite", clock=clock)
        documents = store.documents()
        storage = Storage(store, documents, store.artifacts(), store.queue)
        conversations = ConversationRecords(documents, retention_days=30, clock=clock)
        uploads = Uploads(storage.artifacts)

        async def keep() -> tuple[str, str]:
            file = await uploads.save("apps/ann", "a.csv", b"1")
            return (await conversations.create("apps/ann")).id, file.id

        async def is_kept(kept: tuple[str, str]) -> tuple[bool, bool]:
            conversation, file = kept
            found = await conversations.find("apps/ann", conversation), await uploads.read("apps/ann", file)
            return found[0] is not None, found[1] is not None

        old = await keep()
        await asyncio.sleep(20 * _DAY)
        young = await keep()
        await asyncio.sleep(11 * _DAY)
        retention = Retention(storage, 30, clock=clock)
        retention.start()
        await asyncio.sleep(600)
        assert (await is_kept(old), await is_kept(young)) == ((False, False), (True, True))

        async def fail(moment: float) -> int:
            raise StorageError("away")

        with monkeypatch.context() as away:
            away.setattr(store, "delete_before", fail)
            await asyncio.sleep(20 * _DAY)
        assert (await is_kept(young))[1]
        await asyncio.sleep(0.5 * _DAY)
        assert await is_kept(young) == (False, False)
        await retention.close()
        await store.close()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        virtual.run(run())
