"""Teams allows one stream a chat: whoever is asked while another answer streams there waits, at whichever worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.plan import make_plan
from tests.faults.report import table
from tests.faults.run import WORKERS, Run, perform
from tests.faults.verdict import complaints, conversations

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.proof]

# People who ask again while they are being answered; with fewer, nothing would be proved.
LEAST_THAT_WAITED = 15


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install Azurite with")
async def test_in_a_calm_run_of_three_workers_no_stream_is_opened_beside_an_open_one(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    plan = make_plan(7, questions=100, conversations=25, seconds=25, workers=WORKERS)
    run = await perform(replace(plan, kills=(), pauses=()), tmp_path)
    figure(table(run))
    assert waited(run) >= LEAST_THAT_WAITED
    assert run.teams.side_by_side == []
    wrong = list(complaints(run))
    assert not wrong, "\n".join(wrong[:10])


def waited(run: Run) -> int:
    """Questions that were asked while the one before them in their chat was being answered."""
    return sum(
        later.asked_at < (run.teams.finals(earlier.id)[0].final_at or 0.0)
        for questions in conversations(run).values()
        for earlier, later in pairwise(questions)
        if run.teams.finals(earlier.id)
    )
