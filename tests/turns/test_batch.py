"""A host brings the turns that wait as a batch, in any order: they are answered in their own."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from app.bot.channel import TEAMS_GROUP
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.storage_errors import StorageError
from app.turns.queue_message import TurnMessage
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.turn_harness import ANN, ANSWER, TurnHarness, Worker, claim, claims_with, now, played


class Answered:
    """Which turns were answered, in order, and which while another was being answered."""

    def __init__(self, harness: TurnHarness) -> None:
        self.turns: list[str] = []
        self._end = harness.store.end
        harness.store.end = self._noted  # type: ignore[method-assign]

    async def _noted(self, record: TurnRecord, *ended: Any, **named: Any) -> None:
        await self._end(record, *ended, **named)
        self.turns.append(record.key.activity_id)


async def asked_after(seconds: float, worker: Worker, name: str) -> None:
    await asyncio.sleep(seconds)
    await worker.ask("How?", name)


async def serve(harness: TurnHarness, seed: int, seconds: float) -> None:
    """All of a batch at once, as the Functions host does."""
    worker, receiver, running, chance = (
        harness.worker(),
        harness.store.queue("turns"),
        list[asyncio.Task[None]](),
        random.Random(seed),
    )
    for _ in range(int(seconds)):
        batch = await receiver.receive(16, visibility_timeout=600)
        chance.shuffle(batch)
        for taken in batch:
            running.append(asyncio.create_task(worker.resume(taken.body)))
            await receiver.delete(taken.receipt)
        await asyncio.sleep(1)
    await asyncio.gather(*running)


@pytest.mark.parametrize("waiting", ["23", "2345"])
def test_all_that_wait_for_a_lost_one_and_come_at_once_are_answered_in_their_order(
    waiting: str, tmp_path: Path
) -> None:
    for seed in range(8):
        answered: list[Answered] = []

        async def script(harness: TurnHarness, seed: int = seed, answered: list[Answered] = answered) -> None:
            answered.append(Answered(harness))
            ending = harness.worker()
            # Its caller waited for the answer, and its worker is gone.
            await claims_with(harness, MemoryReceiver()).enter(TurnKey(ANN, "lost"), None)
            tasks = [asyncio.create_task(asked_after(0.5 * n, ending, name)) for n, name in enumerate(waiting)]
            await asyncio.sleep(3)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await serve(harness, seed, 600)

        played(TEAMS_GROUP, tmp_path / str(seed), script)
        assert "".join(answered[0].turns) == waiting


@pytest.mark.parametrize("doubled", [None, "2", "4"])
def test_who_passes_a_lost_turn_by_passes_no_other(doubled: str | None, tmp_path: Path) -> None:
    for seed in range(12):
        taken, at_once = list[str](), list[str]()

        async def script(
            harness: TurnHarness, seed: int = seed, taken: list[str] = taken, at_once: list[str] = at_once
        ) -> None:
            receiver, chance, working = MemoryReceiver(), random.Random(seed), list[asyncio.Task[None]]()
            claims = claims_with(harness, receiver)
            await claims.enter(TurnKey(ANN, "lost"), None)
            await asyncio.sleep(35)
            for name in "234":
                message = TurnMessage(TurnKey(ANN, name), now(), "And then?")
                lease = await claims.enter(message.key, message)
                assert lease is not None
                await lease.release()
                if name == doubled:
                    await receiver.put(message.to_json(), visibility_timeout=0)

            async def look(body: str) -> None:
                lease = await claim(claims, TurnMessage.from_json(body))
                if lease is None:
                    return
                if len(taken) > len(await harness.store.recent(ANN, 9)) // 2:
                    at_once.append(lease.record.key.activity_id)
                taken.append(lease.record.key.activity_id)
                async with lease:
                    await asyncio.sleep(6)
                    await lease.close(TurnState.ANSWERED, (StoredMessage("user", "?"), StoredMessage("assistant", "!")))

            until = now() + 900
            while now() < until and len(await harness.store.recent(ANN, 9)) < 6:
                batch = await receiver.receive(16, visibility_timeout=600)
                chance.shuffle(batch)
                for one in batch:
                    working.append(asyncio.create_task(look(one.body)))
                    await receiver.delete(one.receipt)
                    await asyncio.sleep(0.02)
                await asyncio.sleep(1)
            await asyncio.gather(*working)

        played(TEAMS_GROUP, tmp_path / str(seed), script)
        assert (taken, at_once) == (["2", "3", "4"], [])


def test_a_new_question_after_a_long_outage_leaves_the_older_ones_in_their_order(tmp_path: Path) -> None:
    answered: list[Answered] = []

    async def script(harness: TurnHarness) -> None:
        answered.append(Answered(harness))
        ending, new = harness.worker(), harness.worker(1)
        tasks = [asyncio.create_task(asked_after(0.1 * n, ending, name)) for n, name in enumerate("123")]
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(2 * 3600)
        asked = now()
        asking = asyncio.create_task(new.ask("How?", "new"))
        await asyncio.sleep(2)
        await serve(harness, 3, 300)
        await asking
        assert now() - asked < 400

    played(TEAMS_GROUP, tmp_path, script)
    assert [turn for turn in answered[0].turns if turn != "new"] == ["1", "2", "3"]
    assert answered[0].turns[0] == "new", "it waits for what nobody may ever bring back"


@pytest.mark.parametrize("away", [25.0, 200.0])
def test_storage_that_is_away_while_a_turn_reads_its_history_costs_no_answer(away: float, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        await harness.store.begin(
            TurnRecord(TurnKey(ANN, "1"), 0, TurnState.STARTED, "gone", now() - 1, 1, "How?"), history_limit=9
        )
        recent, began = harness.store.recent, now()

        async def stands_still(*arguments: object) -> list[StoredMessage]:
            if now() - began < away:
                await asyncio.sleep(20)
                raise StorageError("TimeoutError")
            return await recent(*arguments)  # type: ignore[arg-type]

        harness.store.recent = stands_still  # type: ignore[method-assign,assignment]
        await harness.worker().resume(TurnMessage(TurnKey(ANN, "1"), now(), "How?").to_json())
        await harness.later()

    harness, (state, _) = played(TEAMS_GROUP, tmp_path, script)
    said = " ".join(harness.chat.messages.values())
    if away < 100:
        assert ANSWER in said
        assert state is TurnState.ANSWERED
    else:
        assert "error id" in said, "nobody was told"
        assert state is TurnState.FAILED


def test_what_was_left_open_long_ago_delays_no_answer_that_another_worker_continues(tmp_path: Path) -> None:
    answered: list[Answered] = []

    async def script(harness: TurnHarness) -> None:
        answered.append(Answered(harness))
        for number in range(5):
            await claims_with(harness, MemoryReceiver()).enter(TurnKey(ANN, f"lost {number}"), None)
        await asyncio.sleep(3700)
        asking = asyncio.create_task(harness.worker(20).ask("How?", "new"))
        await asyncio.sleep(8)
        asking.cancel()
        await asyncio.wait([asking])
        ended = now()
        await serve(harness, 1, 40)
        assert answered[0].turns == ["new"], "the answer stands half shown"
        assert now() - ended < 60

    played(TEAMS_GROUP, tmp_path, script)
