"""A model endpoint that says nothing for 40 seconds: nobody is left without a sign, and nobody is answered twice."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from tests.faults.deliveries import Deliveries
from tests.faults.model import ModelEndpoint
from tests.faults.plan import Kind, Question
from tests.faults.run import settings_of
from tests.faults.teams import Teams
from tests.faults.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.proof]

# Seconds.
TEAMS_REPEATS_AFTER = 15.0
THINKS_FOR = 40.0
# Copilot gives up without a word for 45 s; a typing indicator is gone after a few.
LONGEST_SILENCE = {Kind.TEAMS: 45.0, Kind.COPILOT: 45.0, Kind.GROUP: 8.0}


async def test_a_model_that_takes_40_seconds_is_waited_for_with_signs_of_life_and_answers_once(tmp_path: Path) -> None:
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    asked = [a_slow_question(kind) for kind in Kind]
    questions = {question.id: question for question in asked}
    async with (
        Teams(questions, None, clock) as teams,
        ModelEndpoint(questions, clock) as model,
        Workers(1, tmp_path, lambda name: {**settings_of(tmp_path), **model.settings_for(name)}, clock) as workers,
        aiohttp.ClientSession() as client,
    ):
        began = time.monotonic()
        deliveries = Deliveries(client, workers, teams.service_url, 1, clock)
        first = [asyncio.create_task(deliveries.deliver(question)) for question in asked]
        await asyncio.sleep(TEAMS_REPEATS_AFTER)
        repeats = await asyncio.gather(*map(deliveries.repeat, asked))
        await asyncio.gather(*first)
        async with asyncio.timeout(THINKS_FOR + 20):
            await teams.all_answered()
        # A second answer would come from the repeat, which began 15 s later.
        await asyncio.sleep(TEAMS_REPEATS_AFTER + 2)
        await workers.stop()

    assert not teams.breaches + model.breaches
    for question, repeat in zip(asked, repeats, strict=True):
        acknowledged = deliveries.of(question.id)[0]
        assert acknowledged.taken, f"{question.kind}: the call was answered {acknowledged.answer}"
        assert (acknowledged.ended_at or 99) - acknowledged.at < TEAMS_REPEATS_AFTER, "Teams would have repeated it"
        assert repeat.taken
        assert [bubble.text for bubble in teams.finals(question.id)] == [question.answer]
        assert not teams.left_open(question.id), f"{question.kind}: a second bubble stays half empty"
        assert len([each for each in model.asked if each.question == question.id]) == 1, "the repeat asked again"
        signs = [0.0, *(call.at for call in teams.signs_of(question.id))]
        silence = max(later - earlier for earlier, later in pairwise(signs))
        assert len(signs) > 3, f"{question.kind}: the person saw nothing until the answer came"
        assert silence < LONGEST_SILENCE[question.kind], f"{question.kind}: {silence:.0f} s without any sign"


def a_slow_question(kind: Kind) -> Question:
    name = f"slow-{kind.name.lower()}"
    return Question(name, kind, f"a:{name}", f"{name}?", f"The answer to {name}.", 0.0, THINKS_FOR, 1.0)
