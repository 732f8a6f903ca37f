"""Where the bot can speak first: what is stored of a conversation, when, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.messaging.conversation_references import REFERENCES, ConversationReference, ConversationReferences
from app.storage.conversations import ConversationKey
from app.storage.documents import Document, DocumentKey, DocumentStore
from app.storage.storage_errors import StorageError
from tests.fakes.clock import Clock
from tests.fakes.stores import ENGINES, opened_documents

CHAT = ConversationKey("t", "msteams/a:1")
DAY = 24 * 3600


def reference(**changes: Any) -> ConversationReference:
    fields = {
        "tenant_id": "t",
        "conversation": "msteams/a:1",
        "channel_id": "msteams",
        "conversation_id": "a:1",
        "conversation_type": "personal",
        "service_url": "https://smba.trafficmanager.net/emea/",
        "bot_id": "28:bot",
        "user_id": "29:ann",
        "locale": "de-DE",
    }
    return ConversationReference.model_validate(fields | changes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=ENGINES)
async def documents(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[DocumentStore]:
    async with opened_documents(request, tmp_path, clock) as store:
        yield store


class Counted:
    """The store, with its calls; they write when `gate` is open."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self.calls: list[str] = []
        self.gate: asyncio.Event | None = None

    def __getattr__(self, name: str) -> Any:
        async def reach(*arguments: Any) -> Any:
            if name == "put" and self.gate is not None:
                await self.gate.wait()
            return await getattr(self._documents, name)(*arguments)

        async def call(*arguments: Any) -> Any:
            self.calls.append(name)
            # A call that is on its way reaches storage, though its caller is cancelled.
            return await asyncio.shield(asyncio.ensure_future(reach(*arguments)))

        return call


async def recorded(references: ConversationReferences, *seen: ConversationReference) -> None:
    for each in seen:
        references.record(each)
        await references.flush()
        await asyncio.sleep(0)


async def test_a_recorded_reference_is_found_by_another_worker_from_any_thread(
    documents: DocumentStore, clock: Clock
) -> None:
    await recorded(ConversationReferences(documents, clock=clock), reference())

    other = ConversationReferences(documents, clock=clock)
    found = await other.find(ConversationKey("t", "msteams/a:1", "77"))
    assert found == reference(saved_at=clock.now)
    assert await other.find(ConversationKey("another tenant", "msteams/a:1")) is None


async def test_a_change_is_saved_and_what_an_activity_does_not_name_stays(
    documents: DocumentStore, clock: Clock
) -> None:
    references = ConversationReferences(documents, clock=clock)
    moved = reference(service_url="https://smba.trafficmanager.net/amer/", locale="", conversation_type="")
    await recorded(references, reference(), moved)

    found = await references.find(CHAT)
    assert found == reference(service_url=moved.service_url, saved_at=clock.now)


async def test_the_same_reference_again_costs_no_call_at_all(documents: DocumentStore, clock: Clock) -> None:
    counted: Any = Counted(documents)
    references = ConversationReferences(counted, clock=clock)
    await recorded(references, reference(), reference(), reference(locale=""))

    assert counted.calls == ["get", "put"]


@pytest.mark.parametrize(("seconds", "calls"), [(60, []), (601, ["get"]), (31 * DAY, ["get", "put"])])
async def test_it_is_looked_up_again_after_a_while_and_written_again_once_a_month(
    documents: DocumentStore, clock: Clock, seconds: float, calls: list[str]
) -> None:
    counted: Any = Counted(documents)
    references = ConversationReferences(counted, clock=clock)
    await recorded(references, reference())
    del counted.calls[:]
    clock.now += seconds
    await recorded(references, reference())

    assert counted.calls == calls


async def test_forgetting_deletes_also_what_is_being_saved_in_this_moment(
    documents: DocumentStore, clock: Clock
) -> None:
    counted: Any = Counted(documents)
    counted.gate = asyncio.Event()
    references = ConversationReferences(counted, clock=clock)
    references.record(reference())
    async with asyncio.timeout(5):
        while "put" not in counted.calls:  # noqa: ASYNC110 - of a fake
            await asyncio.sleep(0.001)
        forgetting = asyncio.create_task(references.forget(CHAT))
        await asyncio.sleep(0.05)
        counted.gate.set()
        await forgetting
        await asyncio.sleep(0.05)

    assert await references.find(CHAT) is None
    await recorded(references, reference())
    assert await references.find(CHAT) is not None, "the next activity brings it again"


async def test_storage_that_fails_costs_nobody_anything_and_the_next_activity_saves_it(
    documents: DocumentStore, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: Any = Counted(documents)
    references = ConversationReferences(counted, clock=clock)

    async def fails(_: Any) -> Any:
        raise StorageError("down")

    with monkeypatch.context() as down:
        down.setattr(counted, "get", fails, raising=False)
        await recorded(references, reference())
    assert "could not be saved (StorageError)" in caplog.text
    await recorded(references, reference())
    assert await references.find(CHAT) is not None


async def test_what_another_version_wrote_is_no_reference_and_is_replaced(
    documents: DocumentStore, clock: Clock
) -> None:
    await documents.put(Document(DocumentKey(REFERENCES, "t", "msteams/a:1"), '{"somebody": "else"}'))
    references = ConversationReferences(documents, clock=clock)
    assert await references.find(CHAT) is None

    await recorded(references, reference())
    assert await references.find(CHAT) == reference(saved_at=clock.now)


async def test_closing_does_not_wait_for_storage_that_hangs(documents: DocumentStore, clock: Clock) -> None:
    counted: Any = Counted(documents)
    counted.gate = asyncio.Event()
    references = ConversationReferences(counted, clock=clock)
    references.record(reference())
    async with asyncio.timeout(1):
        await references.close(grace=0.01)
    counted.gate.set()


async def test_a_closed_worker_has_saved_everything_and_records_nothing_more(
    documents: DocumentStore, clock: Clock
) -> None:
    references = ConversationReferences(documents, clock=clock)
    references.record(reference())
    await references.close()
    assert await references.find(CHAT) is not None
    await recorded(references, reference(locale="fr-FR"))
    assert await references.find(CHAT) == reference(saved_at=clock.now)


async def test_a_reference_of_the_first_version_can_be_read(documents: DocumentStore, clock: Clock) -> None:
    """Stored references stay: change this text only by adding to it."""
    stored = (
        '{"tenant_id":"t","conversation":"msteams/a:1","channel_id":"msteams","conversation_id":"a:1",'
        '"conversation_type":"personal","service_url":"https://smba.trafficmanager.net/emea/","bot_id":"28:bot",'
        '"bot_name":"","user_id":"29:ann","entra_object_id":"","locale":"de-DE","saved_at":1800000000.0}'
    )
    await documents.put(Document(DocumentKey(REFERENCES, "t", "msteams/a:1"), stored))
    assert await ConversationReferences(documents, clock=clock).find(CHAT) == reference(saved_at=1800000000.0)
