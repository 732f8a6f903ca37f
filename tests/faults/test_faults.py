"""Nothing lost, nothing twice: people ask while workers die, storage stops and the channel fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.floors import QUESTIONS, too_mild
from tests.faults.plan import make_plan
from tests.faults.report import table
from tests.faults.run import LOCK_SECONDS, WORKERS, perform
from tests.faults.verdict import complaints

pytestmark = [pytest.mark.slow, pytest.mark.alone]


# One run with every test run, the others with `python dev.py test --all`; more by `python -m tests.faults`.
# The last one with Azure's time for a message whose host was killed.
AZURE_LOCK_SECONDS = 600.0
RUNS = (
    (7, LOCK_SECONDS, QUESTIONS),
    pytest.param(8, LOCK_SECONDS, QUESTIONS, marks=pytest.mark.proof),
    pytest.param(9, AZURE_LOCK_SECONDS, QUESTIONS, marks=pytest.mark.proof),
)
QUESTIONS_IN_A_CONVERSATION = 5
SECONDS = 75


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install Azurite with")
@pytest.mark.parametrize(("seed", "lock_seconds", "questions"), RUNS)
async def test_every_question_has_one_right_answer_in_order_whatever_is_killed(
    seed: int, lock_seconds: float, questions: int, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    conversations = questions // QUESTIONS_IN_A_CONVERSATION
    plan = make_plan(seed, questions=questions, conversations=conversations, seconds=SECONDS, workers=WORKERS)
    run = await perform(plan, tmp_path, lock_seconds=lock_seconds)
    figure(table(run))
    wrong = [*too_mild(run), *complaints(run)]
    assert not wrong, "\n".join([f"{len(wrong)} complaints; the workers' logs are in {tmp_path}", *wrong[:10]])


def test_the_same_seed_makes_the_same_plan() -> None:
    plans = [make_plan(seed, questions=30, conversations=6, seconds=20, workers=3) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
