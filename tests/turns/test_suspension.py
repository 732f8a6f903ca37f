"""A turn waits for a person's decision, and continues with it on any worker: nothing is asked or done twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from app.agent.agent import Agent
from app.agent.turn import Turn
from app.bot.channel import TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.common.caller import Caller
from app.common.cancellation import CancelReason
from app.storage.ledger import TurnKey, TurnState
from app.storage.storage_errors import StorageError
from app.tools.base import ToolContext, ToolOutput
from app.turns.queue_message import TurnMessage
from tests.fakes.table_deleter import Table, TableDeleter
from tests.fakes.turn_harness import ANN, TurnHarness, Worker, claims_with, in_virtual_time, now, played

KEY = TurnKey(ANN, "1")


def worker_with(deleter: TableDeleter, harness: TurnHarness) -> Worker:
    made = harness.worker()
    made.runner._agent = Agent(deleter, [deleter], system_prompt="", history_token_budget=1000)
    return made


async def suspended(harness: TurnHarness, deleter: TableDeleter) -> str:
    """What it waits for."""
    await worker_with(deleter, harness).ask("Delete what is empty")
    found = await harness.store.find(KEY)
    assert found is not None
    assert found.state is TurnState.SUSPENDED
    assert harness.store.queue("turns") is not None
    checkpoint = await claims_with(harness, cast(Any, None))._checkpoints.load(KEY, found.checkpoint)
    assert checkpoint.suspension is not None
    return checkpoint.suspension.waiting_for


async def take_up(harness: TurnHarness, deleter: TableDeleter, seconds: float = 100.0) -> None:
    until, receiver = now() + seconds, harness.store.queue("turns")
    while now() < until:
        for taken in await receiver.receive(9, visibility_timeout=600):
            await worker_with(deleter, harness).resume(taken.body)
            await receiver.delete(taken.receipt)
        await asyncio.sleep(1)


@pytest.mark.parametrize("channel", [TEAMS_GROUP, TEAMS_PERSONAL], ids=lambda channel: channel.name)
@pytest.mark.parametrize("approved", [True, False], ids=["approved", "rejected"])
@pytest.mark.parametrize("large", [10, 19_000], ids=["a short result", "a long result"])
def test_a_turn_continues_with_the_decision_and_neither_reads_nor_asks_again(
    channel: Channel, approved: bool, large: int, tmp_path: Path
) -> None:
    deleter = TableDeleter(large)

    async def script(harness: TurnHarness) -> None:
        waiting_for = await suspended(harness, deleter)
        asked = deleter.asked
        await asyncio.sleep(3 * 24 * 3600)
        runner = worker_with(deleter, harness).runner
        assert await runner.resume_suspended(KEY, "something else", approved=approved) is False
        assert await runner.resume_suspended(KEY, waiting_for, approved=approved) is True
        assert await runner.resume_suspended(KEY, waiting_for, approved=not approved) is False, "the first one stands"
        await take_up(harness, deleter)
        assert deleter.asked == asked + 1

    harness, (state, memory) = played(channel, tmp_path, script)
    assert state is TurnState.ANSWERED
    assert (deleter.read, deleter.deleted) == (["sales"], ["sales"] if approved else [])
    question, *answers = harness.chat.messages.values()
    assert "I need your approval" in question
    assert "".join(answers).endswith("Done." if approved else "Then it stays.")
    _, answer = memory
    assert answer.text == f"It is empty.\n\n{'Done.' if approved else 'Then it stays.'}"


@in_virtual_time
async def test_a_turn_that_waits_for_a_decision_delays_no_other_and_is_not_answered_by_a_repeat(
    harness: TurnHarness,
) -> None:
    deleter = TableDeleter()
    await suspended(harness, deleter)
    started, worker = now(), harness.worker(seconds=1)
    await worker.ask("And this?", "2")
    assert now() - started < 5
    await worker_with(deleter, harness).ask("Delete what is empty")
    found = await harness.store.find(KEY)
    assert found is not None
    assert found.state is TurnState.SUSPENDED
    assert await harness.store.queue("turns").receive(9, visibility_timeout=1) == []


@pytest.mark.parametrize("lost", ["put", "begin", "update_visibility"])
def test_a_decision_whose_worker_vanishes_is_not_lost_when_it_is_brought_again(lost: str, tmp_path: Path) -> None:
    deleter = TableDeleter()

    async def script(harness: TurnHarness) -> None:
        waiting_for = await suspended(harness, deleter)
        worker = worker_with(deleter, harness)
        backend = worker.runner._backend
        engine = cast(Any, backend.store if lost == "begin" else backend.queue)
        method = getattr(engine, lost)

        async def and_gone(*arguments: Any, **named: Any) -> Any:
            await method(*arguments, **named)
            worker.wire.cut()
            await asyncio.Event().wait()

        setattr(engine, lost, and_gone)
        bringing = asyncio.create_task(worker.runner.resume_suspended(KEY, waiting_for, approved=True))
        await asyncio.sleep(5)
        bringing.cancel()
        await asyncio.wait([bringing])
        await worker_with(deleter, harness).runner.resume_suspended(KEY, waiting_for, approved=True)
        await take_up(harness, deleter)

    _, (state, _) = played(TEAMS_GROUP, tmp_path, script)
    assert (state, deleter.deleted) == (TurnState.ANSWERED, ["sales"])


@in_virtual_time
async def test_a_message_that_was_dropped_before_its_turn_was_open_is_put_again(harness: TurnHarness) -> None:
    deleter = TableDeleter()
    waiting_for = await suspended(harness, deleter)
    worker = worker_with(deleter, harness)
    store = cast(Any, worker.runner._backend.store)
    begin = store.begin

    async def slow(*arguments: Any, **named: Any) -> Any:
        await asyncio.sleep(60)
        return await begin(*arguments, **named)

    store.begin = slow
    bringing = asyncio.create_task(worker.runner.resume_suspended(KEY, waiting_for, approved=True))
    await take_up(harness, deleter, 50)
    assert await bringing is True
    await take_up(harness, deleter)
    assert deleter.deleted == ["sales"]


@in_virtual_time
async def test_a_worker_that_vanishes_while_the_approved_tool_runs_has_it_run_once(harness: TurnHarness) -> None:
    deleter = TableDeleter()
    waiting_for = await suspended(harness, deleter)
    worker = worker_with(deleter, harness)
    assert await worker.runner.resume_suspended(KEY, waiting_for, approved=True)
    resuming = asyncio.create_task(worker.resume(await harness.take_message()))
    await asyncio.sleep(1.5)
    worker.wire.cut()
    await take_up(harness, deleter, 100)
    resuming.cancel()
    await asyncio.wait([resuming])
    found = await harness.store.find(KEY)
    assert found is not None
    assert found.state is TurnState.ANSWERED
    assert len(deleter.deleted) <= 1


@in_virtual_time
async def test_a_long_journal_is_an_artifact_that_goes_with_the_end_of_its_turn(harness: TurnHarness) -> None:
    deleter = TableDeleter(19_999)
    artifacts = harness.store.artifacts()
    kept: set[str] = set()
    waiting_for = await suspended(harness, deleter)

    def names() -> Any:
        return harness.store._file.run_transaction(
            lambda connection: {name for (name,) in connection.execute("SELECT name FROM artifact")}
        )

    kept = await names()
    assert len(kept) == 1
    assert await worker_with(deleter, harness).runner.resume_suspended(KEY, waiting_for, approved=True)
    await take_up(harness, deleter)
    assert deleter.read == ["sales"]
    assert await names() == set()
    await artifacts.close()


@pytest.mark.parametrize("refusals", [1, 2, 3])
def test_a_person_is_asked_though_storage_did_not_take_what_was_recorded(refusals: int, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        await asked_while_storage_refuses(harness, refusals)

    played(TEAMS_GROUP, tmp_path, script)


async def asked_while_storage_refuses(harness: TurnHarness, refusals: int) -> None:
    deleter = TableDeleter()
    worker = worker_with(deleter, harness)
    store = cast(Any, worker.runner._backend.store)
    change = store.change

    refused: list[float] = []

    async def refuse(record: Any) -> Any:
        if len(refused) < refusals:
            refused.append(now())
            raise StorageError("ServerBusy")
        return await change(record)

    store.change = refuse
    await worker.ask("Delete what is empty")
    await take_up(harness, deleter)
    assert len(refused) == refusals
    (question,) = harness.chat.messages.values()
    assert "I need your approval" in question


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("the worker ends", CancelReason.HANDED_OVER),
        ("another worker has the turn", CancelReason.LEASE_LOST),
        ("the time is over", CancelReason.TIMED_OUT),
    ],
)
def test_a_tool_that_is_cancelled_knows_why(why: str, reason: CancelReason, tmp_path: Path) -> None:
    seen: list[CancelReason | None] = []

    async def script(harness: TurnHarness) -> None:
        deleter = TableDeleter()

        async def slow(table: Table, context: ToolContext) -> ToolOutput:
            try:
                await asyncio.sleep(25)
            except asyncio.CancelledError:
                seen.append(context.cancellation.reason)
                raise
            return ToolOutput("late")

        deleter._read = slow  # type: ignore[method-assign]
        worker = worker_with(deleter, harness)
        limit = 5.0 if why == "the time is over" else 60.0
        turn = Turn("1", ANN, "Delete what is empty")
        asking = asyncio.create_task(worker.runner.run(turn, worker.reply, payload="x", time_limit_seconds=limit))
        await asyncio.sleep(2)
        if why == "the worker ends":
            asking.cancel()
        if why == "another worker has the turn":
            found = await harness.store.find(KEY)
            assert found is not None
            await harness.store.change(found.changed(owner="another", lease_until=now() + 99))
        await asyncio.wait([asking])

    played(TEAMS_GROUP, tmp_path, script)
    assert seen == [reason]


def test_the_message_of_a_resumed_turn_has_the_kind_and_the_trace_of_its_first(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        deleter = TableDeleter()
        worker = worker_with(deleter, harness)
        turn = Turn("1", ANN, "Delete what is empty")
        await worker.runner.run(turn, worker.reply, payload="Delete what is empty", traceparent="00-a-b-01")
        found = await harness.store.find(KEY)
        assert found is not None
        checkpoint = await claims_with(harness, cast(Any, None))._checkpoints.load(KEY, found.checkpoint)
        assert checkpoint.suspension is not None
        assert await worker.runner.resume_suspended(KEY, checkpoint.suspension.waiting_for, approved=True)
        (taken,) = await harness.store.queue("turns").receive(9, visibility_timeout=1)
        message = TurnMessage.from_json(taken.body)
        assert (message.kind, message.traceparent, message.payload) == ("turn", "00-a-b-01", "Delete what is empty")

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_the_row_of_a_closed_turn_remembers_how_it_ended_and_nothing_that_was_said(harness: TurnHarness) -> None:
    await harness.worker().ask()
    found = await harness.store.find(KEY)
    assert found is not None
    assert found.result == '{"end": "answer", "truncated": false}'
    assert (found.payload, found.checkpoint) == ("", "")


@in_virtual_time
async def test_what_is_remembered_of_a_question_says_who_asked_it(harness: TurnHarness) -> None:
    worker = harness.worker()
    turn = Turn("1", ANN, "How?", caller=Caller("tenant", "29:ann"))
    await worker.runner.run(turn, worker.reply, payload="How?")
    question, answer = await harness.store.recent(ANN, 9)
    assert json.loads(question.caller)["user_id"] == "29:ann"
    assert answer.caller == ""


@in_virtual_time
async def test_an_approval_whose_recorded_calls_are_gone_changes_nothing(harness: TurnHarness) -> None:
    """The model is asked anew, and may call another tool than the one that was approved."""
    deleter = TableDeleter(19_999)
    waiting_for = await suspended(harness, deleter)
    await harness.store._file.run_transaction(lambda connection: connection.execute("DELETE FROM artifact"))
    assert await worker_with(deleter, harness).runner.resume_suspended(KEY, waiting_for, approved=True)
    await take_up(harness, deleter)
    assert deleter.deleted == []
    found = await harness.store.find(KEY)
    assert found is not None
    assert found.state is not TurnState.STARTED
