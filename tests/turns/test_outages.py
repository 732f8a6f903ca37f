"""Queue, ledger and channel that take nothing, or do not say: what a person sees."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.agent.turn import Turn
from app.bot.channel import TEAMS_GROUP, TEAMS_PERSONAL
from app.bot.connector.send_errors import DeliveryUnknownError, SendRefusedError
from app.storage.ledger import TurnKey, TurnState
from app.storage.storage_errors import StorageError
from app.turns.queue_message import TurnMessage
from app.turns.reply import LeaseLostError, UndeliveredError
from tests.fakes.chat import Wire, ends_with
from tests.fakes.turn_harness import ANN, ANSWER, TurnHarness, Worker, plain, played


class Blocked(Wire):
    """A queue that is away for a while: refuses, or does not answer."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self.away = True
        self.hangs = hangs

    async def carry(self, work: Callable[[], Awaitable[Any]], latency: float = 0.02) -> Any:
        while self.away and self.hangs:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(0.5)
        if self.away:
            raise StorageError("the queue is away")
        return await super().carry(work, latency)


def with_queue_behind(worker: Worker, wire: Wire) -> Worker:
    backend = worker.runner._backend
    backend.queue._wire = wire  # type: ignore[attr-defined]
    return worker


def test_a_turn_that_was_entered_without_a_message_is_answered_when_teams_repeats_it(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        first = with_queue_behind(harness.worker(), Blocked(hangs=False))
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(1)
        # Nothing has been acknowledged: the call ends with the worker.
        first.wire.cut()
        async with ends_with(asking):
            await asyncio.sleep(15)
            await harness.worker().ask()
            await harness.later()

    harness, (state, _) = played(TEAMS_GROUP, tmp_path, script)
    assert [plain(text) for text in harness.chat.messages.values()] == [ANSWER], "the question is lost for ever"
    assert state is TurnState.ANSWERED


def test_a_turn_whose_message_could_not_be_put_has_one_soon_after_the_queue_is_back(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        queue = Blocked(hangs=False)
        first = with_queue_behind(harness.worker(30), queue)
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(4)
        queue.away = False
        # No renewal is due yet, and the call has been acknowledged: nobody repeats it.
        await asyncio.sleep(3)
        first.wire.cut()
        queue.cut()
        async with ends_with(asking):
            await harness.later()

    harness, (state, _) = played(TEAMS_GROUP, tmp_path, script)
    assert [plain(text) for text in harness.chat.messages.values()] == [ANSWER], "the question is lost for ever"
    assert state is TurnState.ANSWERED


def test_a_queue_that_does_not_answer_costs_nobody_the_answer(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        queue = Blocked(hangs=True)
        first = with_queue_behind(harness.worker(), queue)
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(20)
        queue.away = False
        try:
            await asking
            refused = False
        except StorageError:
            refused = True
        if refused:
            loop = asyncio.get_running_loop()
            started = loop.time()
            # The person does what they were told.
            await harness.worker().ask("How?", "2")
            assert loop.time() - started < 30, "told to ask again, they wait for a turn that nobody has"
        await harness.later()

    played(TEAMS_GROUP, tmp_path, script)


def test_an_edit_that_is_not_confirmed_leaves_one_answer(tmp_path: Path) -> None:
    """Long answers in Teams end by an edit: the page says that an edit cannot arrive twice."""

    async def script(harness: TurnHarness) -> None:
        edit = harness.chat.edit

        async def unconfirmed(activity_id: str, activity: dict[str, Any]) -> None:
            await edit(activity_id, activity)
            if activity["text"] == ANSWER:
                raise DeliveryUnknownError("HTTP 504")

        harness.chat.edit = unconfirmed  # type: ignore[method-assign]
        worker = harness.worker(seconds=6)
        await worker.ask()
        await harness.later()

    brief = replace(TEAMS_PERSONAL, streaming=replace(cast(Any, TEAMS_PERSONAL.streaming), closes_after_seconds=3.0))
    harness, _ = played(brief, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER], "the whole answer stands there twice"


def test_a_stalled_worker_whose_answer_is_refused_says_nothing_of_it(tmp_path: Path) -> None:
    told: list[BaseException | None] = []

    async def script(harness: TurnHarness) -> None:
        first = harness.worker(1)
        outlet_of = harness.chat.through

        class Refusing:
            def __init__(self, inner: Any) -> None:
                self.inner = inner

            async def post(self, activity: dict[str, Any], *, retry: bool = True) -> str | None:
                if activity["type"] == "message":
                    # The worker stands still in the very moment of sending.
                    first.wire.cut()
                    await asyncio.sleep(45)
                    first.wire.join()
                    raise SendRefusedError("HTTP 403")
                return cast("str | None", await self.inner.post(activity, retry=retry))

        def through(wire: Wire) -> Any:
            return Refusing(outlet_of(wire)) if wire is first.wire else outlet_of(wire)

        harness.chat.through = through  # type: ignore[method-assign]
        asking = asyncio.create_task(first.ask())
        await harness.later(100)
        await asyncio.wait([asking])
        told.append(asking.exception())

    played(TEAMS_GROUP, tmp_path, script)
    assert not isinstance(told[0], LeaseLostError), "the person is told that something went wrong"


def test_a_channel_that_never_confirms_shows_an_answer_a_few_times_at_most(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        take = harness.chat.take

        async def unconfirmed(activity: dict[str, Any]) -> str | None:
            taken = await take(activity)
            if activity["type"] == "message":
                raise DeliveryUnknownError("HTTP 500")
            return taken

        harness.chat.take = unconfirmed  # type: ignore[method-assign]
        await harness.worker().ask()
        with pytest.raises(UndeliveredError):
            await harness.later(1200)

    harness, _ = played(TEAMS_GROUP, tmp_path, script)
    assert len(harness.chat.messages) <= 8, f"{len(harness.chat.messages)} copies of one answer"


def test_messages_do_not_multiply_while_the_ledger_takes_no_writes(tmp_path: Path) -> None:
    count = 0

    async def script(harness: TurnHarness) -> None:
        nonlocal count
        first = harness.worker(20)
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(1)
        first.wire.cut()
        receiver = harness.store.queue("turns")
        async with ends_with(asking):
            other = harness.worker()

            async def refuse(*_: Any) -> Any:
                raise StorageError("ServerBusy")

            cast(Any, other.runner._backend.store).change = refuse
            for _ in range(300):
                for taken in await receiver.receive(32, visibility_timeout=600):
                    await unfinished(other, taken.body)
                    await receiver.delete(taken.receipt)
                await asyncio.sleep(1)
            await asyncio.sleep(100)
            count = len(await receiver.receive(1000, visibility_timeout=1))

    async def unfinished(other: Worker, body: str) -> None:
        """As app/bot/resume.py."""
        try:
            await other.resume(body)
        except StorageError:
            await other.runner.requeue(TurnMessage.from_json(body))

    played(TEAMS_GROUP, tmp_path, script)
    assert count <= 2, f"one turn, five minutes, {count} messages"


def test_a_question_that_nobody_else_can_answer_is_closed_when_its_worker_ends(tmp_path: Path) -> None:
    """`expectReplies`, waiting for an earlier question at shutdown."""
    state = None

    async def script(harness: TurnHarness) -> None:
        nonlocal state
        worker = harness.worker(20)
        one = asyncio.create_task(worker.ask("How?", "1"))
        await asyncio.sleep(1)
        two = asyncio.create_task(worker.runner.run(Turn("2", ANN, "And?"), worker.reply))
        await asyncio.sleep(5)
        two.cancel()
        await asyncio.wait([two])
        found = await harness.store.find(TurnKey(ANN, "2"))
        state = found and found.state
        async with ends_with(one):
            pass

    played(TEAMS_GROUP, tmp_path, script)
    assert state is TurnState.FAILED, "the next question waits two minutes for a turn that nobody has"


def test_a_worker_that_is_told_twice_to_stop_hands_over_all_the_same(tmp_path: Path) -> None:
    has_predecessor = 0.0

    async def script(harness: TurnHarness) -> None:
        nonlocal has_predecessor
        first = harness.worker(20)
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(3)
        asking.cancel()
        await asyncio.sleep(0.005)
        asking.cancel()
        await asyncio.wait([asking])
        record = await harness.store.find(TurnKey(ANN, "1"))
        assert record is not None
        has_predecessor = record.lease_until - asyncio.get_running_loop().time()
        await harness.later()

    played(TEAMS_GROUP, tmp_path, script)
    assert has_predecessor <= 1, f"nobody may go on with it for {has_predecessor:.0f} s"
