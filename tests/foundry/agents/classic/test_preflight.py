"""What a project lacks for classic agents is said before any is made."""

from __future__ import annotations

import pytest

from app.foundry.agents.foundry_errors import RefusedError
from tests.foundry.agents.classic.conftest import ClassicProgramHarness


async def test_a_project_that_can_have_the_agents_passes_and_nothing_is_made(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().check()
    retirement, deployment, set_up, queues, agents = harness.lines
    assert "2027-03-31" in retirement
    assert deployment == "deployment gpt-4.1: gpt-4.1 2025-11-13"
    assert set_up == "set-up: standard"
    assert queues.startswith("warning: 127.0.0.1 gave no answer")
    assert agents == "agents: 0 classic ones in the project"
    assert {call.partition(" ")[0] for call in harness.stand_in.faults.calls} == {"GET"}


async def test_a_model_that_classic_agents_cannot_give_tools_to_is_warned_of(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator(MODEL_DEPLOYMENT_NAME="gpt-5.1").check()
    assert (
        "warning: Microsoft does not list gpt-5.1 for the tools of classic agents, only gpt-35-turbo, "
        in (harness.lines[2])
    )


async def test_what_is_missing_is_refused(harness: ClassicProgramHarness) -> None:
    with pytest.raises(RefusedError, match="no deployment gpt-9: check MODEL_DEPLOYMENT_NAME"):
        await harness.orchestrator(MODEL_DEPLOYMENT_NAME="gpt-9").check()
    harness.stand_in.agents.standard_setup = False
    with pytest.raises(RefusedError, match=r"need the standard set-up.*no connection to any of them"):
        await harness.orchestrator().check()
