"""A question to classic agents: every end is known, and nothing is put twice."""

from __future__ import annotations

import asyncio

import pytest

from app.foundry.agents.foundry_errors import FoundryError, NoEndError, RefusedError, UnavailableError
from tests.foundry.agents.classic.conftest import (
    ASKING,
    ClassicProgramHarness,
)


@pytest.mark.parametrize(
    ("end", "error", "said"),
    [
        ("incomplete", NoEndError, "incomplete (max_completion_tokens)"),
        ("content_filter", RefusedError, "content filter"),
        ("failed", NoEndError, "The run failed (server_error: Sorry.)"),
        ("expired", NoEndError, "ten minutes"),
        ("cancelled", NoEndError, "was cancelled"),
        ("approval", RefusedError, "asks for approval"),
        ("empty", NoEndError, "without an answer"),
        ("stuck", NoEndError, "no answer within 0.3 s"),
    ],
)
async def test_every_end_is_known_and_leaves_no_thread(
    harness: ClassicProgramHarness, end: str, error: type[FoundryError], said: str
) -> None:
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append(end)
    with pytest.raises(error) as raised:
        await harness.orchestrator().ask("How many?", 0.3 if end == "stuck" else 20)
    assert said in str(raised.value)
    assert not harness.stand_in.classic.threads
    assert not harness.stand_in.running()


async def test_an_answer_without_any_tool_names_none(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append("no_tool")
    assert (await harness.orchestrator().ask("How many?", 30)).tool_calls == ()


@pytest.mark.parametrize("call", ASKING)
async def test_a_question_is_never_put_twice(harness: ClassicProgramHarness, call: str) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add(call, 503, after=True)
    with pytest.raises(UnavailableError):
        await harness.orchestrator().ask("How many?", 20)
    assert harness.stand_in.faults.calls.count(call) == 1
    assert not harness.stand_in.classic.threads


@pytest.mark.parametrize("call", ASKING)
async def test_a_question_that_was_certainly_not_put_is_put_again(harness: ClassicProgramHarness, call: str) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add(call, 429, times=2)
    assert (await harness.orchestrator().ask("How many?", 30)).text
    assert harness.stand_in.faults.calls.count(call) == 3


@pytest.mark.parametrize("call", ["GET /assistants", "POST /threads", "POST /threads/{id}/messages"])
async def test_the_time_limit_holds_at_every_step(harness: ClassicProgramHarness, call: str) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add(call, None)
    async with asyncio.timeout(20):
        with pytest.raises(NoEndError, match=r"no answer within 0\.3 s"):
            await harness.orchestrator().ask("How many?", 0.3)
    assert not harness.stand_in.classic.threads
