"""Nothing lost, nothing twice: people ask while workers die, storage stops and the channel fails."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.faults.plan import make_plan
from tests.faults.report import table
from tests.faults.run import WORKERS, perform
from tests.faults.verdict import complaints

pytestmark = pytest.mark.slow


# A minute and a half of questions, and two short storms; more by `python -m tests.faults --seed 7 --runs 3`.
SEEDS = [(7, 300, 60, 90), (8, 60, 12, 25), (9, 60, 12, 25)]


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install Azurite with")
@pytest.mark.parametrize(("seed", "questions", "conversations", "seconds"), SEEDS)
async def test_every_question_has_one_right_answer_in_order_whatever_is_killed(
    seed: int, questions: int, conversations: int, seconds: int, tmp_path: Path
) -> None:
    plan = make_plan(seed, questions=questions, conversations=conversations, seconds=seconds, workers=WORKERS)
    run = await perform(plan, tmp_path)
    sys.stdout.write(f"{table(run)}\n")
    wrong = list(complaints(run))
    assert not wrong, "\n".join([f"{len(wrong)} complaints; the workers' logs are in {tmp_path}", *wrong[:10]])


def test_the_same_seed_makes_the_same_storm() -> None:
    plans = [make_plan(seed, questions=30, conversations=6, seconds=20, workers=3) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
