"""Two questions of a chat come to two workers that storage does not answer; it answers the second worker first."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.faults.plan import two_in_an_outage
from tests.faults.run import Run, perform
from tests.faults.verdict import complaints

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.proof]

# Seconds: less than the lease, after which another worker finds the question on the queue.
OUTAGE = (5.0, 8.5)
ANSWERED_LATER = 0.5


async def outage(run: Run) -> None:
    began, ended = OUTAGE
    await asyncio.sleep(began - run.chaos.clock())
    first, second = (worker.name for worker in run.workers.current[:2])
    for worker in (first, second):
        run.tap.hold(worker)
    await asyncio.sleep(ended - run.chaos.clock())
    run.tap.let_go(second)
    await asyncio.sleep(ANSWERED_LATER)
    run.tap.let_go(first)
    run.chaos.pauses.append((began, run.chaos.clock()))


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install Azurite with")
async def test_two_questions_of_a_chat_that_come_while_storage_does_not_answer_are_answered_in_their_order(
    tmp_path: Path,
) -> None:
    run = await perform(two_in_an_outage(7, OUTAGE, conversations=12), tmp_path, outage)
    wrong = list(complaints(run))
    assert not wrong, "\n".join([f"{len(wrong)} complaints; the workers' logs are in {tmp_path}", *wrong[:10]])
