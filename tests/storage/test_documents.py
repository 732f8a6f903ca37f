"""What every storage engine promises of documents, on SQLite, PostgreSQL and Azurite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.storage.azure.document_entities import document_range, document_row, due_range, due_row
from app.storage.documents import MAX_DOCUMENT_CHARACTERS, Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError
from tests.fakes.clock import Clock
from tests.fakes.stores import ENGINES, opened_documents

SCHEDULES = Collection("schedules")
INCIDENTS = Collection("incidents", retention_days=90)
DAY_SECONDS = 24 * 3600.0


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[DocumentStore]:
    async with opened_documents(request, tmp_path, clock) as store:
        yield store


def key(id: str, tenant: str = "contoso", collection: Collection = SCHEDULES) -> DocumentKey:
    return DocumentKey(collection, tenant, id)


async def test_a_document_is_created_once_and_changed_by_its_newest_version(store: DocumentStore) -> None:
    assert await store.get(key("a")) is None
    first = await store.put(Document(key("a"), "1"))
    assert await store.get(key("a")) == first
    second = await store.put(replace(first, value="2", due_at=5.0))
    third = await store.put(replace(second, due_at=7.25))
    assert len({first.version, second.version, third.version}) == 3
    for late in (Document(key("a"), "3"), replace(first, value="3"), replace(second, due_at=None)):
        with pytest.raises(ConcurrentUpdateError):
            await store.put(late)
    assert await store.get(key("a")) == third


async def test_one_of_several_writers_of_a_document_wins(store: DocumentStore) -> None:
    first, *others = [Document(key("a"), str(n), due_at=float(n)) for n in range(6)]
    first = await store.put(first)
    for writes in ([replace(first, value=each.value, due_at=each.due_at) for each in others], others):
        results = await asyncio.gather(*(store.put(each) for each in writes), return_exceptions=True)
        winners = [result for result in results if isinstance(result, Document)]
        assert len(winners) == (0 if writes is others else 1)
    (due,) = await store.due_before(SCHEDULES, 100.0)
    assert due == await store.get(key("a"))


async def test_documents_of_other_collections_and_tenants_are_others(store: DocumentStore) -> None:
    await store.put(Document(key("a"), "1", due_at=1.0))
    for other in (key("a", "fabrikam"), key("a", collection=INCIDENTS), key("A"), key("a ")):
        assert await store.get(other) is None
        await store.delete(other)
    assert (await store.list_page(INCIDENTS, "contoso")).documents == []
    assert (await store.list_page(SCHEDULES, "fabrikam")).documents == []
    assert await store.due_before(INCIDENTS, 9.0) == []
    assert await store.get(key("a")) is not None


async def test_a_document_that_was_written_since_it_was_read_is_not_deleted_with_its_older_version(
    store: DocumentStore,
) -> None:
    old = await store.put(Document(key("a"), "old", due_at=1.0))
    new = await store.put(replace(old, value="new", due_at=2.0))
    assert await store.delete_unchanged(old) is False
    assert await store.due_before(SCHEDULES, 9.0) == [new]
    assert await store.delete_unchanged(new) is True
    assert await store.delete_unchanged(new) is False
    assert await store.get(key("a")) is None
    assert await store.due_before(SCHEDULES, 9.0) == []


async def test_a_deleted_document_is_gone_and_its_version_is_no_longer_valid(store: DocumentStore) -> None:
    old = await store.put(Document(key("a"), "old", due_at=1.0))
    await store.delete(old.key)
    await store.delete(old.key)
    assert await store.get(old.key) is None
    assert await store.due_before(SCHEDULES, 9.0) == []
    with pytest.raises(ConcurrentUpdateError):
        await store.put(replace(old, value="older"))
    new = await store.put(Document(key("a"), "new"))
    with pytest.raises(ConcurrentUpdateError):
        await store.put(replace(old, value="older"))
    assert await store.get(key("a")) == new


async def test_documents_are_listed_by_prefix_page_by_page(store: DocumentStore) -> None:
    written = [await store.put(Document(key(f"run/{n}"), str(n))) for n in range(7)]
    await store.put(Document(key("runs"), "of another prefix"))
    await store.put(Document(key("run/1", "fabrikam"), "of another tenant"))
    listed, continuation = [], ""
    while True:
        page = await store.list_page(SCHEDULES, "contoso", prefix="run/", limit=3, continuation=continuation)
        assert len(page.documents) <= 3
        listed += page.documents
        continuation = page.continuation
        if not continuation:
            break
        if len(listed) == 3:
            await store.delete(key("run/3"))
    assert listed == [document for document in written if document.value != "3"]
    assert len((await store.list_page(SCHEDULES, "contoso", limit=999)).documents) == 7


async def test_what_is_due_comes_from_all_tenants_earliest_first(store: DocumentStore, clock: Clock) -> None:
    late = await store.put(Document(key("late"), "", due_at=clock.now + 10.001))
    now = await store.put(Document(key("now", "fabrikam"), "", due_at=clock.now))
    early = await store.put(Document(key("early"), "", due_at=clock.now - DAY_SECONDS))
    never = await store.put(Document(key("never"), ""))
    assert await store.due_before(SCHEDULES, clock.now - DAY_SECONDS - 1) == []
    assert await store.due_before(SCHEDULES, clock.now) == [early, now]
    assert await store.due_before(SCHEDULES, clock.now, limit=1) == [early]
    assert await store.due_before(SCHEDULES, clock.now + 10.0005) == [early, now]
    assert await store.due_before(SCHEDULES, clock.now + 11) == [early, now, late]
    await store.put(replace(early, due_at=clock.now + DAY_SECONDS))
    await store.put(replace(now, due_at=None))
    never = await store.put(replace(never, due_at=clock.now + 1))
    assert await store.due_before(SCHEDULES, clock.now + 11) == [never, late]


async def test_one_of_several_workers_moves_a_due_document(store: DocumentStore) -> None:
    await store.put(Document(key("a"), "", due_at=1.0))
    found = [(await store.due_before(SCHEDULES, 2.0))[0] for _ in range(4)]
    results = await asyncio.gather(*(store.put(replace(each, due_at=9.0)) for each in found), return_exceptions=True)
    assert sum(isinstance(result, Document) for result in results) == 1
    assert await store.due_before(SCHEDULES, 2.0) == []


async def test_documents_are_kept_as_long_as_their_collection_says(store: DocumentStore, clock: Clock) -> None:
    kept = await store.put(Document(key("kept"), "", due_at=1.0))
    await store.put(Document(key("old", collection=INCIDENTS), "", due_at=1.0))
    written_again = await store.put(Document(key("young", collection=INCIDENTS), ""))
    clock.now += 60 * DAY_SECONDS
    written_again = await store.put(replace(written_again, value="again"))
    assert await store.delete_expired() == 0
    clock.now += 31 * DAY_SECONDS
    assert await store.delete_expired() == 1
    assert await store.delete_expired() == 0
    assert (await store.list_page(INCIDENTS, "contoso")).documents == [written_again]
    assert await store.due_before(INCIDENTS, clock.now) == []
    assert await store.get(kept.key) == kept


# Longer than what fits into an index of any database, and hard to compress.
LONG = "".join(chr(0x4E00 + number * number * 7919 % 20_000) for number in range(2000))


async def test_long_ids_with_the_same_beginning_are_listed_page_by_page(store: DocumentStore) -> None:
    ids = sorted(f"{LONG}{ending}" for ending in ("", "/", "/a", "/b/", "z"))
    for id in reversed(ids):
        await store.put(Document(key(id), ""))
    listed, continuation = [], ""
    for _ in ids:
        page = await store.list_page(SCHEDULES, "contoso", prefix=LONG, limit=1, continuation=continuation)
        listed += [document.key.id for document in page.documents]
        continuation = page.continuation
    assert (sorted(listed), continuation) == (ids, "")
    below = await store.list_page(SCHEDULES, "contoso", prefix=f"{LONG}/")
    assert sorted(document.key.id for document in below.documents) == ids[1:4]


@pytest.mark.parametrize(
    "id",
    ["", "19:a@thread.v2;messageid=1 / #?\\ %2F~ Größe 😀", "x" * 2000, "語" * 300, "a\ud83d", "\x00\x7f\x85", LONG],
)
async def test_any_id_and_tenant_and_value_is_kept(store: DocumentStore, id: str) -> None:
    value = '"\\語😀\n' * (MAX_DOCUMENT_CHARACTERS // 5)
    written = await store.put(Document(key(id, tenant=id), value, due_at=1.5))
    assert written.value == value
    assert await store.get(key(id, tenant=id)) == written
    assert await store.get(key(id + "y", tenant=id)) is None
    assert (await store.list_page(SCHEDULES, id, prefix=id[:1500])).documents == [written]
    assert (await store.list_page(SCHEDULES, id, prefix=id + "y")).documents == []
    assert await store.due_before(SCHEDULES, 2.0) == [written]
    await store.delete(key(id, tenant=id))
    assert await store.get(key(id, tenant=id)) is None


async def test_a_value_with_nul_is_kept_without_it(store: DocumentStore) -> None:
    written = await store.put(Document(key("a"), "x\0"))
    assert written.value == "x\ufffd"
    assert await store.get(key("a")) == written


async def test_a_value_that_is_too_long_is_refused(store: DocumentStore) -> None:
    with pytest.raises(ValueError, match="room for 80000"):
        await store.put(Document(key("a"), "x" * (MAX_DOCUMENT_CHARACTERS + 1)))


@pytest.mark.parametrize("name", ["", "Schedules", "a-b", "a" * 41, "1a", "a!"])
def test_a_name_that_no_engine_can_keep_names_no_collection(name: str) -> None:
    with pytest.raises(ValueError, match="names no collection"):
        Collection(name)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.sampled_from(
    ["x" * 399, "x" * 400, "~" * 200]
)


@given(TEXT, TEXT, TEXT)
def test_a_row_fits_and_is_within_the_range_of_each_of_its_prefixes(tenant: str, id: str, other: str) -> None:
    row = document_row(tenant, id)
    assert len(row) <= 512
    assert not set(row) & set("/\\#?%'\t\n ")
    for size in (0, len(id) // 2, len(id)):
        first, after = document_range(tenant, id[:size], "")
        assert first <= row < after
    assert (document_row(tenant, other) == row) == (other == id)
    assert (document_row(other, id) == row) == (other == tenant)


@given(st.floats(0, 1e11), st.floats(0, 1e11))
def test_what_is_due_is_in_the_range_up_to_that_moment(due_at: float, moment: float) -> None:
    first, after = due_range(moment)
    if due_at <= moment:
        assert first <= due_row(key("a"), due_at) < after
    elif due_at > moment + 0.002:
        assert not first <= due_row(key("a"), due_at) < after
