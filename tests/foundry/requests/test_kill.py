"""Workers of the real Function App are killed while they answer messages that Foundry has put on Azurite's queues."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.fakes.azurite import Azurite
from tests.foundry.requests.kill_run import LOCK_SECONDS, KillRun, kill_run, within

_KILLS = 9
_BAD = ["no message", "bm8gbWVzc2FnZQ==", "{}", "[1]", '{"CorrelationId": null, "InsertionTime": "x"}', "<&>"]


@pytest.mark.slow
async def test_another_worker_answers_what_a_killed_one_had_taken_though_its_host_hides_it_for_ten_minutes(
    azurite: Azurite, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    async with kill_run(azurite, tmp_path, workers=1, model_seconds=0.2) as run:
        await run.put_all(1)
        run.model.seconds = 60
        await asyncio.gather(*map(run.put, range(1, 9)))
        await within(20, run.recorded(8), lambda: log_of(run))
        run.model.seconds = 0.2
        await run.workers.kill(0, signal.SIGKILL)
        run.kills += 1
        # Messages that nobody can be answered do no harm to those that come after them.
        dropped = [(await run.input_queue.send_message(content)).id for content in _BAD]
        unreadable = [(await run.poison_queue.send_message(content)).id for content in _BAD]
        await run.put(9)
        await within(60, run.all_answered(), lambda: log_of(run))
        log = "\n".join(worker.log.read_text() for worker in run.workers.all.values())
    for queue, ids in (("queue of ask", dropped), ("poison queue of foundry-requests", unreadable)):
        assert [log.count(f"Message {id} on the {queue} is dropped") for id in ids] == [1] * len(_BAD), log
    run.check()
    figure(run.figures())


@pytest.mark.proof
async def test_a_thousand_requests_are_answered_by_three_workers_that_are_killed_again_and_again(
    azurite: Azurite, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    async with kill_run(azurite, tmp_path, workers=3, model_seconds=0.5, lease_seconds=30) as run:
        killing = asyncio.create_task(_kill_some(run))
        await run.put_all(1000)
        await within(1500, killing, lambda: log_of(run))
        # A worker that is killed before it has recorded what it took leaves that to its host's lock.
        await within(LOCK_SECONDS + 300, run.all_answered(), lambda: log_of(run))
    run.check()
    figure(run.figures())


async def _kill_some(run: KillRun) -> None:
    chance = Random(16)
    for number in range(_KILLS):
        # However fast the machine is: while it answers the first messages, and then again and again.
        await run.answered(1 + 100 * number + chance.randrange(50))
        await run.workers.kill(chance.randrange(3), signal.SIGKILL)
        run.kills += 1


def log_of(run: KillRun) -> str:
    missing = sorted(run.asked_at.keys() - run.values.keys())
    logs = [f"{worker.name}:\n{worker.log.read_text()[-4000:]}" for worker in run.workers.all.values()]
    return "\n".join([f"not answered: {missing}", *logs])
