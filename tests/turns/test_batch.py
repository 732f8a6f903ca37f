"""A host brings the turns that wait as a batch, in any order: they are answered in their own."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from app.bot.channel import TEAMS_GROUP
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.storage_errors import StorageError
from app.turns.queue_message import TurnMessage, parse_turn_message
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.turn_harness import ANN, ANSWER, TurnHarness, Worker, desk_with, now, played


class Answered:
    """Which turns were answered, in order, and which while another was being answered."""

    def __init__(self, house: TurnHarness) -> None:
        self.turns: list[str] = []
        self._end = house.store.end
        house.store.end = self._noted  # type: ignore[method-assign,assignment]

    async def _noted(self, record: TurnRecord, state: TurnState, messages: tuple[StoredMessage, ...]) -> None:
        await self._end(record, state, messages)
        self.turns.append(record.key.activity)


async def asked_after(seconds: float, worker: Worker, name: str) -> None:
    await asyncio.sleep(seconds)
    await worker.ask("How?", name)


async def serve(house: TurnHarness, seed: int, seconds: float) -> None:
    """All of a batch at once, as the Functions host does."""
    worker, inbox, running, chance = (
        house.worker(),
        house.store.queue("turns"),
        list[asyncio.Task[None]](),
        random.Random(seed),
    )
    for _ in range(int(seconds)):
        batch = await inbox.take(16, visibility_timeout=600)
        chance.shuffle(batch)
        for taken in batch:
            running.append(asyncio.create_task(worker.resume(taken.body)))
            await inbox.delete(taken.receipt)
        await asyncio.sleep(1)
    await asyncio.gather(*running)


@pytest.mark.parametrize("waiting", ["23", "2345"])
def test_all_that_wait_for_a_lost_one_and_come_at_once_are_answered_in_their_order(
    waiting: str, tmp_path: Path
) -> None:
    for seed in range(8):
        answered: list[Answered] = []

        async def script(house: TurnHarness, seed: int = seed, answered: list[Answered] = answered) -> None:
            answered.append(Answered(house))
            ending = house.worker()
            # Its caller waited for the answer, and its worker is gone.
            await desk_with(house, MemoryReceiver()).enter(TurnKey(ANN, "lost"), None)
            tasks = [asyncio.create_task(asked_after(0.5 * n, ending, name)) for n, name in enumerate(waiting)]
            await asyncio.sleep(3)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await serve(house, seed, 600)

        played(TEAMS_GROUP, tmp_path / str(seed), script)
        assert "".join(answered[0].turns) == waiting


@pytest.mark.parametrize("doubled", [None, "2", "4"])
def test_who_passes_a_lost_turn_by_passes_no_other(doubled: str | None, tmp_path: Path) -> None:
    for seed in range(12):
        taken, at_once = list[str](), list[str]()

        async def script(
            house: TurnHarness, seed: int = seed, taken: list[str] = taken, at_once: list[str] = at_once
        ) -> None:
            inbox, chance, working = MemoryReceiver(), random.Random(seed), list[asyncio.Task[None]]()
            desk = desk_with(house, inbox)
            await desk.enter(TurnKey(ANN, "lost"), None)
            await asyncio.sleep(35)
            for name in "234":
                turn_message = TurnMessage(TurnKey(ANN, name), now(), "And then?")
                held = await desk.enter(turn_message.key, turn_message)
                assert held is not None
                await held.release()
                if name == doubled:
                    await inbox.put(turn_message.written(), visibility_timeout=0)

            async def look(body: str) -> None:
                held = await desk.claim(parse_turn_message(body))
                if held is None:
                    return
                if len(taken) > len(await house.store.recent(ANN, 9)) // 2:
                    at_once.append(held.record.key.activity)
                taken.append(held.record.key.activity)
                async with held:
                    await asyncio.sleep(6)
                    await held.close(TurnState.ANSWERED, (StoredMessage("user", "?"), StoredMessage("assistant", "!")))

            until = now() + 900
            while now() < until and len(await house.store.recent(ANN, 9)) < 6:
                batch = await inbox.take(16, visibility_timeout=600)
                chance.shuffle(batch)
                for one in batch:
                    working.append(asyncio.create_task(look(one.body)))
                    await inbox.delete(one.receipt)
                    await asyncio.sleep(0.02)
                await asyncio.sleep(1)
            await asyncio.gather(*working)

        played(TEAMS_GROUP, tmp_path / str(seed), script)
        assert (taken, at_once) == (["2", "3", "4"], [])


def test_a_new_question_after_a_long_outage_leaves_the_older_ones_in_their_order(tmp_path: Path) -> None:
    answered: list[Answered] = []

    async def script(house: TurnHarness) -> None:
        answered.append(Answered(house))
        ending, new = house.worker(), house.worker(1)
        tasks = [asyncio.create_task(asked_after(0.1 * n, ending, name)) for n, name in enumerate("123")]
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(2 * 3600)
        asked = now()
        asking = asyncio.create_task(new.ask("How?", "new"))
        await asyncio.sleep(2)
        await serve(house, 3, 300)
        await asking
        assert now() - asked < 400

    played(TEAMS_GROUP, tmp_path, script)
    assert [turn for turn in answered[0].turns if turn != "new"] == ["1", "2", "3"]
    assert answered[0].turns[0] == "new", "it waits for what nobody may ever bring back"


@pytest.mark.parametrize("away", [25.0, 200.0])
def test_storage_that_is_away_while_a_turn_reads_its_history_costs_no_answer(away: float, tmp_path: Path) -> None:
    async def script(house: TurnHarness) -> None:
        await house.store.begin(
            TurnRecord(TurnKey(ANN, "1"), 0, TurnState.STARTED, "gone", now() - 1, 1, "How?"), remember=9
        )
        recent, began = house.store.recent, now()

        async def stands_still(*arguments: object) -> list[StoredMessage]:
            if now() - began < away:
                await asyncio.sleep(20)
                raise StorageError("TimeoutError")
            return await recent(*arguments)  # type: ignore[arg-type]

        house.store.recent = stands_still  # type: ignore[method-assign,assignment]
        await house.worker().resume(TurnMessage(TurnKey(ANN, "1"), now(), "How?").written())
        await house.later()

    house, (state, _) = played(TEAMS_GROUP, tmp_path, script)
    said = " ".join(house.chat.messages.values())
    if away < 100:
        assert ANSWER in said
        assert state is TurnState.ANSWERED
    else:
        assert "error id" in said, "nobody was told"
        assert state is TurnState.FAILED


def test_what_was_left_open_long_ago_holds_up_no_answer_that_another_worker_goes_on_with(tmp_path: Path) -> None:
    answered: list[Answered] = []

    async def script(house: TurnHarness) -> None:
        answered.append(Answered(house))
        for number in range(5):
            await desk_with(house, MemoryReceiver()).enter(TurnKey(ANN, f"lost {number}"), None)
        await asyncio.sleep(3700)
        asking = asyncio.create_task(house.worker(20).ask("How?", "new"))
        await asyncio.sleep(8)
        asking.cancel()
        await asyncio.wait([asking])
        ended = now()
        await serve(house, 1, 40)
        assert answered[0].turns == ["new"], "the answer stands half shown"
        assert now() - ended < 60

    played(TEAMS_GROUP, tmp_path, script)
