"""Real processes on a real PostgreSQL, killed in the middle of background answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent_server.killed_instances import run
from tests.fakes.postgres import Postgres, started


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    yield from started()


@pytest.mark.slow
async def test_killed_instances_lose_no_background_answer(database: Postgres, tmp_path: Path) -> None:
    await _judge(database, tmp_path, questions=10, instance_count=2, kills=2, seed=1)


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
async def test_over_many_kills_no_answer_is_lost_taken_back_or_given_twice(
    database: Postgres, tmp_path: Path, seed: int
) -> None:
    await _judge(database, tmp_path, questions=150, instance_count=3, kills=20, seed=seed)


async def _judge(
    database: Postgres, folder: Path, *, questions: int, instance_count: int, kills: int, seed: int
) -> None:
    followed, terms = await run(
        folder, database.url, questions=questions, instance_count=instance_count, kills=kills, seed=seed
    )
    assert [fault for each in followed for fault in each.faults()] == []
    assert all(seconds < 14 for seconds in terms), f"SIGTERM took {terms}"
    asked = (folder / "asked").read_text().split()
    assert len(asked) > questions, "no kill fell into an answer"
