"""What health finds out about model and storage, and how often it asks."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from app.health.dependency_checks import DependencyChecks, state_of
from app.health.health import Health
from app.models import model_errors as failures
from tests.fakes.clock import Clock


class Dependency:
    """Answers when it is let; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Event()
        self.failure: Exception | None = None

    async def check(self) -> None:
        self.asked += 1
        await self.let.wait()
        if self.failure:
            raise self.failure


async def test_all_requests_within_ten_seconds_share_one_check() -> None:
    clock, model = Clock(0.0), Dependency()
    dependencies = DependencyChecks({"model": model.check}, clock=clock)
    askers = [asyncio.create_task(dependencies.check()) for _ in range(50)]
    await asyncio.sleep(0)
    model.let.set()
    await asyncio.gather(*askers)
    assert model.asked == 1
    for now, asked in ((9.9, 1), (10.0, 2), (19.9, 2), (20.0, 3)):
        clock.now = now
        await dependencies.check()
        assert model.asked == asked, f"after {now} s"
    await dependencies.close()


async def test_a_caller_that_hangs_up_does_not_cancel_the_check_of_the_others() -> None:
    model = Dependency()
    dependencies = DependencyChecks({"model": model.check})
    first, second = (asyncio.create_task(dependencies.check()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    model.let.set()
    assert (await second)["model"].state == "answers"
    assert model.asked == 1


async def test_a_dependency_that_hangs_is_given_up_and_the_other_is_still_reported() -> None:
    hangs, answers = Dependency(), Dependency()
    answers.let.set()
    dependencies = DependencyChecks({"model": hangs.check, "storage": answers.check}, time_limit_seconds=0.05)
    answer = await Health(dependencies).answer_with_dependencies("GET")
    body = json.loads(answer.body)
    assert (answer.status, body["model"]["state"], body["storage"]["state"]) == (503, "timed out", "answers")


async def test_a_worker_that_ends_does_not_wait_for_a_check() -> None:
    model = Dependency()
    dependencies = DependencyChecks({"model": model.check})
    asker = asyncio.create_task(dependencies.check())
    await asyncio.sleep(0)
    await dependencies.close()
    with pytest.raises(asyncio.CancelledError):
        await asker


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, model = Clock(0.0), Dependency()
    model.let.set()
    dependencies = DependencyChecks({"model": model.check}, clock=clock)
    for failure in (None, failures.PermissionDeniedError("HTTP 403"), failures.PermissionDeniedError("HTTP 403"), None):
        model.failure = failure
        await dependencies.check()
        clock.now += 60
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("WARNING", "Health: model: refused (PermissionDeniedError: HTTP 403)"),
        ("INFO", "Health: model: answers"),
    ]


def test_every_error_has_a_short_name_for_callers() -> None:
    for failure in (*vars(failures).values(), OSError, ValueError):
        if isinstance(failure, type) and issubclass(failure, Exception):
            assert len(state_of(failure("something confidential"))) < 15
