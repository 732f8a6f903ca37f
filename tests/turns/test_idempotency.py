"""Buttons under Teams' repeats: with the same id, with a new one, at two workers at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from app.storage.documents import Document, DocumentKey, DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from app.turns.idempotency import ACTIONS, ActionInProgressError, IdempotentAction, IdempotentActions, Json, digest
from tests.fakes.virtual_time import VirtualTimeLoop

REPAIR = IdempotentAction("tenant", "repair/run-7", "repair")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DocumentStore]:
    made = SqliteStore(tmp_path / "x")
    yield made.documents()
    await made.close()


class Counted:
    def __init__(self, *, gate: asyncio.Event | None = None, fails: int = 0, seconds: float = 0.0) -> None:
        self.done = self.begun_times = 0
        self._seconds = seconds
        self.started = asyncio.Event()
        self._gate = gate
        self._fails = fails

    async def __call__(self) -> Json:
        self.started.set()
        self.begun_times += 1
        await asyncio.sleep(self._seconds)
        if self._gate is not None:
            await self._gate.wait()
        if self._fails:
            self._fails -= 1
            raise ConnectionError("the workspace is away")
        self.done += 1
        return {"said": f"done {self.done}"}


def in_virtual_time(script: Callable[[DocumentStore], Awaitable[None]]) -> Callable[[Path], None]:
    async def kept(folder: Path) -> None:
        store = SqliteStore(folder / "x")
        await script(store.documents())
        await store.close()

    def run(tmp_path: Path) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
            virtual.run(kept(tmp_path))

    return run


async def test_a_repeated_action_gets_the_first_result_and_is_not_performed_again(store: DocumentStore) -> None:
    act = Counted()
    answers = [await IdempotentActions(store).once(REPAIR, act) for _ in range(4)]
    assert answers == [{"said": "done 1"}] * 4
    assert act.done == 1


async def test_of_two_workers_at_once_one_performs_the_action_and_both_return_its_result(store: DocumentStore) -> None:
    gate = asyncio.Event()
    act = Counted(gate=gate)
    told = [asyncio.create_task(IdempotentActions(store).once(REPAIR, act)) for _ in range(2)]
    await act.started.wait()
    await asyncio.sleep(0.1)
    gate.set()
    assert await asyncio.gather(*told) == [{"said": "done 1"}] * 2
    assert act.done == 1


async def test_the_first_choice_stands(store: DocumentStore) -> None:
    act = Counted()
    await IdempotentActions(store).once(REPAIR, act)
    assert await IdempotentActions(store).once(IdempotentAction("tenant", "repair/run-7", "ignore"), act) == {
        "said": "done 1"
    }
    assert act.done == 1


async def test_a_changed_choice_is_performed_too_where_it_may_change_and_its_repeat_is_not(
    store: DocumentStore,
) -> None:
    act = Counted()
    for choice in ("like", "like", "dislike", "dislike", "like"):
        await IdempotentActions(store).once(IdempotentAction("tenant", "feedback/1/ann", choice, may_change=True), act)
    assert act.done == 3


async def test_another_id_or_tenant_is_another_action(store: DocumentStore) -> None:
    act = Counted()
    for action in (
        REPAIR,
        IdempotentAction("tenant", "repair/run-8", "repair"),
        IdempotentAction("another tenant", "repair/run-7", "repair"),
    ):
        await IdempotentActions(store).once(action, act)
    assert act.done == 3


async def test_an_action_is_the_first_of_its_id_for_one_worker_alone(store: DocumentStore) -> None:
    welcome = IdempotentAction("tenant", "welcome/1")
    assert sorted(await asyncio.gather(*(IdempotentActions(store).is_first(welcome) for _ in range(4)))) == [
        False,
        False,
        False,
        True,
    ]
    assert await IdempotentActions(store).is_first(IdempotentAction("tenant", "welcome/2"))


async def test_a_result_is_returned_and_stored_though_storage_fails_for_a_moment(
    store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, put, failures = Counted(), store.put, 0

    async def fails(document: Document) -> Document:
        nonlocal failures
        if act.done and failures < 2:
            failures += 1
            raise StorageError("ServerBusy")
        return await put(document)

    monkeypatch.setattr(store, "put", fails)
    assert await IdempotentActions(store).once(REPAIR, act) == {"said": "done 1"}
    assert await IdempotentActions(store).once(REPAIR, act) == {"said": "done 1"}
    assert (act.done, failures) == (1, 2)


@in_virtual_time
async def test_an_action_that_takes_too_long_is_cancelled_before_another_worker_may_claim_it(
    store: DocumentStore,
) -> None:
    loop = asyncio.get_running_loop()
    slow, began, decisions = Counted(gate=asyncio.Event()), loop.time(), IdempotentActions(store, clock=loop.time)
    with pytest.raises(ActionInProgressError):
        await decisions.once(REPAIR, slow)
    assert loop.time() - began < 5, "Teams wants an invoke answered within five seconds"
    await asyncio.sleep(20)
    assert await IdempotentActions(store, clock=loop.time).once(REPAIR, Counted()) == {"said": "done 1"}
    assert loop.time() - began < 30
    await decisions.close()


@in_virtual_time
async def test_an_action_that_outlasts_its_caller_is_performed_once_and_a_repeat_gets_its_result(
    store: DocumentStore,
) -> None:
    act = Counted(seconds=6)
    loop = asyncio.get_running_loop()
    decisions = IdempotentActions(store, clock=loop.time)
    for gives_up in (4.0, 1.0):
        # The caller may have less time than the action.
        with pytest.raises((ActionInProgressError, TimeoutError)):
            async with asyncio.timeout(gives_up):
                await decisions.once(REPAIR, act)
    assert await decisions.once(REPAIR, act) == {"said": "done 1"}
    assert act.begun_times == 1, "the run is repaired with every repeat of the button"
    await decisions.close()


@in_virtual_time
async def test_a_claim_that_was_stored_without_an_answer_is_released(store: DocumentStore) -> None:
    loop = asyncio.get_running_loop()
    put, decisions, act = store.put, IdempotentActions(store, clock=loop.time), Counted()

    async def lands_and_fails(document: Document) -> Document:
        await put(document)
        await asyncio.sleep(6)
        raise StorageError("TimeoutError")

    store.put = lands_and_fails  # type: ignore[method-assign]
    with pytest.raises(ActionInProgressError):
        await decisions.once(REPAIR, act)
    store.put = put  # type: ignore[method-assign]
    await asyncio.sleep(3)
    assert await decisions.once(REPAIR, act) == {"said": "done 1"}
    await decisions.close()


async def test_an_action_that_shutdown_cancelled_may_be_requested_again(store: DocumentStore) -> None:
    ending, hanging = IdempotentActions(store), Counted(gate=asyncio.Event())
    asking = asyncio.create_task(ending.once(REPAIR, hanging))
    await hanging.started.wait()
    await ending.close(grace_seconds=0.0)
    with pytest.raises(ActionInProgressError):
        await asking
    assert await IdempotentActions(store).once(REPAIR, Counted()) == {"said": "done 1"}


async def test_a_closed_worker_starts_no_action(store: DocumentStore) -> None:
    ended, act = IdempotentActions(store), Counted()
    await ended.close()
    with pytest.raises(ActionInProgressError):
        await ended.once(REPAIR, act)
    assert act.begun_times == 0


async def test_an_action_that_failed_may_be_requested_again(store: DocumentStore) -> None:
    act = Counted(fails=1)
    with pytest.raises(ConnectionError):
        await IdempotentActions(store).once(REPAIR, act)
    assert await IdempotentActions(store).once(REPAIR, act) == {"said": "done 1"}


async def test_an_action_whose_worker_vanished_is_claimed_again_after_its_lease(store: DocumentStore) -> None:
    now = 1000.0
    hanging = Counted(gate=asyncio.Event())
    gone = IdempotentActions(store, clock=lambda: now)
    vanished = asyncio.create_task(gone.once(REPAIR, hanging))
    await hanging.started.wait()
    act = Counted()
    later = 1000.0
    looking = asyncio.create_task(IdempotentActions(store, clock=lambda: later).once(REPAIR, act))
    await asyncio.sleep(0.3)
    assert not looking.done(), "somebody is still at it"
    later = 1003.9
    await asyncio.sleep(0.3)
    assert act.done == 0
    later = 1031.0
    # Teams has long given up on this call; its repeat finds the decision free.
    with pytest.raises(ActionInProgressError):
        await IdempotentActions(store, clock=iter([1000.0, 1005.0, 1005.0, 1005.0]).__next__).once(REPAIR, act)
    with pytest.raises(ActionInProgressError):
        await looking
    await gone.close(grace_seconds=0.0)
    with pytest.raises(ActionInProgressError):
        await vanished
    assert (await IdempotentActions(store, clock=lambda: later).once(REPAIR, act)) == {"said": "done 1"}


def test_the_same_json_has_the_same_digest_in_whatever_order_it_comes() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


async def test_an_action_that_the_first_version_stored_is_not_performed_again(store: DocumentStore) -> None:
    """Stored actions stay: change this text only by adding to it."""
    stored = '{"choice":"repair","owner":"o","lease_until":1800000000.0,"result":{"said":"done before"}}'
    await store.put(Document(DocumentKey(ACTIONS, "tenant", "repair/run-7"), stored))
    assert await IdempotentActions(store).once(REPAIR, Counted()) == {"said": "done before"}
