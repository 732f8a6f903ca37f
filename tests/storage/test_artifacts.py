"""What every storage engine promises of artifacts, on SQLite, PostgreSQL and Azurite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.storage.artifacts import MAX_ARTIFACT_BYTES, Artifact, ArtifactKey
from tests.fakes.clock import Clock
from tests.fakes.stores import ANN, BOB, ENGINES, ConversationsAndArtifacts, opened_artifacts

THREAD = replace(ANN, thread="19:1/§")
TABLE = ArtifactKey(ANN, "result of run 17 / Größe 😀")


@pytest.fixture(params=ENGINES)
async def storage(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[ConversationsAndArtifacts]:
    async with opened_artifacts(request, tmp_path, clock) as storage:
        yield storage


def artifact(key: ArtifactKey = TABLE, content: bytes = b"a,b\r\n1,2\r\n") -> Artifact:
    return Artifact(key, content, "text/csv; charset=utf-8")


async def test_an_artifact_is_kept_replaced_and_deleted(storage: ConversationsAndArtifacts) -> None:
    store = storage.artifacts
    assert await store.get(TABLE) is None
    await store.put(artifact())
    assert await store.get(TABLE) == artifact()
    other = Artifact(TABLE, b"", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
    await store.put(other)
    assert await store.get(TABLE) == other
    await store.delete(TABLE)
    await store.delete(TABLE)
    assert await store.get(TABLE) is None


async def test_artifacts_of_other_conversations_threads_and_names_are_others(
    storage: ConversationsAndArtifacts,
) -> None:
    await storage.artifacts.put(artifact())
    for key in (BOB, THREAD, replace(ANN, tenant="other tenant")):
        assert await storage.artifacts.get(replace(TABLE, conversation=key)) is None
    assert await storage.artifacts.get(replace(TABLE, name="result")) is None


# aiohttp would rather have a large body in pieces.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_an_artifact_may_be_as_large_as_is_said_and_no_larger(storage: ConversationsAndArtifacts) -> None:
    largest = artifact(content=bytes(range(256)) * (MAX_ARTIFACT_BYTES // 256))
    await storage.artifacts.put(largest)
    assert await storage.artifacts.get(TABLE) == largest
    with pytest.raises(ValueError, match="bytes"):
        await storage.artifacts.put(replace(largest, content=largest.content + b"x"))


@pytest.mark.parametrize("content_type", ["", "csv", "text/csv\r\nX: 1", "text/csv; charset=utf-8; x", "a/" + "b" * 81])
async def test_a_content_type_that_no_header_can_hold_is_refused(
    storage: ConversationsAndArtifacts, content_type: str
) -> None:
    with pytest.raises(ValueError, match="content type"):
        await storage.artifacts.put(replace(artifact(), content_type=content_type))


@pytest.mark.parametrize("name", ["", "x" * 3000, "a\ud83d", "../\\\x00?#"])
async def test_an_artifact_may_have_any_name(storage: ConversationsAndArtifacts, name: str) -> None:
    key = ArtifactKey(ANN, name)
    await storage.artifacts.put(artifact(key))
    assert await storage.artifacts.get(key) == artifact(key)


async def test_artifacts_are_forgotten_with_their_conversation_or_its_thread(
    storage: ConversationsAndArtifacts,
) -> None:
    of_thread, of_bob = replace(TABLE, conversation=THREAD), replace(TABLE, conversation=BOB)
    many = [ArtifactKey(ANN, f"file {n}") for n in range(20)]
    for key in (*many, of_thread, of_bob):
        await storage.artifacts.put(artifact(key))
    await storage.conversations.forget(ANN)
    assert [await storage.artifacts.get(key) for key in many] == [None] * 20
    assert await storage.artifacts.get(of_thread) is not None
    await storage.artifacts.put(artifact())
    await storage.conversations.forget(ANN, threads=True)
    assert [await storage.artifacts.get(key) for key in (TABLE, of_thread)] == [None, None]
    assert await storage.artifacts.get(of_bob) is not None


async def test_artifacts_are_deleted_with_what_else_is_old(storage: ConversationsAndArtifacts, clock: Clock) -> None:
    old = ArtifactKey(BOB, "old")
    await storage.artifacts.put(artifact(old))
    await storage.artifacts.put(artifact())
    clock.now += 100
    await storage.artifacts.put(artifact())
    assert await storage.conversations.delete_before(clock.now - 50) == 1
    assert await storage.artifacts.get(old) is None
    assert await storage.artifacts.get(TABLE) == artifact()
    assert await storage.conversations.delete_before(clock.now - 50) == 0
