"""The ways into classic agents: the command, and a function for programs that are not asynchronous."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import pytest

from app.foundry.agents.classic import connected_azure_function_agent
from app.foundry.agents.classic_client import open_classic_project
from app.foundry.agents.command import main
from app.foundry.agents.foundry_errors import NoEndError, RefusedError
from tests.foundry.agents.classic.conftest import (
    ClassicProgramHarness,
)


async def test_one_function_makes_the_agents_asks_them_and_removes_them(
    harness: ClassicProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in harness.environment(FOUNDRY_TOOLS="ask").items():
        monkeypatch.setenv(name, value)
    # In threads, as the project is served by the event loop of the test.
    answers: Sequence[str] = await asyncio.gather(
        asyncio.to_thread(connected_azure_function_agent, "How many?"),
        asyncio.to_thread(connected_azure_function_agent, "How much?"),
    )
    assert list(answers) == ["ask says 42 to How many?", "ask says 42 to How much?"]
    assert harness.stand_in.left() == []
    harness.stand_in.runs.ends.append("failed")
    with pytest.raises(NoEndError):
        await asyncio.to_thread(connected_azure_function_agent, "How many?")
    assert harness.stand_in.left() == []


async def test_the_command_uses_the_classic_way_where_it_is_told_to(
    harness: ClassicProgramHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = harness.environment(FOUNDRY_TOOLS="ask")
    for arguments in (["preflight"], ["create"], ["ask", "How many?"], ["delete"]):
        assert await asyncio.to_thread(main, [*arguments, "--classic"], environment) == 0
    shown = capsys.readouterr()
    assert shown.out == "ask says 42 to How many?\n"
    assert "Foundry ends classic agents on 2027-03-31" in shown.err
    assert "FOUNDRY_MCP_URL" not in shown.err
    assert harness.stand_in.left() == []
    environment |= {"FOUNDRY_MCP_URL": "http://127.0.0.1:9/api/mcp"}
    assert await asyncio.to_thread(main, ["delete", "--classic"], environment) == 0
    assert "warning: classic agents use the queues; FOUNDRY_MCP_URL has no effect" in capsys.readouterr().err


async def test_where_the_package_is_missing_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.ai.agents.aio", None)
    with pytest.raises(RefusedError, match="foundry-classic"):
        async with open_classic_project("http://127.0.0.1:9/api/projects/p"):
            pass
