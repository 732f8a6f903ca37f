"""From `python -m app.foundry ask` through Foundry, its queues and our function, and back."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.foundry.agents.project_client import open_project
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.azurite import Azurite
from tests.fakes.foundry_project import served
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint, chat_stream
from tests.faults.workers import Workers
from tests.foundry.agents.conftest import ProgramHarness, quick_calls

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("npm") and shutil.which("node")), reason="there is no Node.js"),
]


@dataclass
class Loop:
    """`settings` are those of the program, `model` answers our function's agent."""

    harness: ProgramHarness
    model: ServingEndpoint
    settings: Mapping[str, str]


@asynccontextmanager
async def loop(azurite: Azurite, folder: Path) -> AsyncIterator[Loop]:
    name = f"t{secrets.token_hex(6)}"
    stand_in = FoundryStandIn(azurite.connection_string)
    async with ServingEndpoint() as model, served(stand_in) as address, open_project(address, quick_calls()) as project:
        app = {
            "AzureWebJobsStorage": azurite.connection_string,
            "DATABRICKS_BASE_URL": model.base_url,
            "DATABRICKS_MODEL_NAME": model.name,
            "DATABRICKS_TOKEN": TOKEN,
            "FOUNDRY_TOOLS": "ask",
            "FOUNDRY_TOOL_NAME": name,
        }
        program = {
            "PROJECT_ENDPOINT_ENT": address,
            "MODEL_DEPLOYMENT_NAME": "gpt-5.1",
            "STORAGE_SERVICE_ENDPOINT": stand_in.queues.endpoint,
            "FOUNDRY_TOOLS": "ask",
            "FOUNDRY_TOOL_NAME": name,
        }
        async with Workers(1, folder, lambda _: app, time.monotonic):
            yield Loop(ProgramHarness(stand_in, address, project), model, program)


async def program(settings: Mapping[str, str], *arguments: str) -> tuple[int | None, str, str]:
    """The exit code, what `python -m app.foundry` printed, and what it reported."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.foundry", *arguments),
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, reported = await process.communicate()
    return process.returncode, printed.decode(), reported.decode()


async def test_a_question_goes_through_foundry_and_the_queues_to_our_function_and_back(
    azurite: Azurite, tmp_path: Path
) -> None:
    async with loop(azurite, tmp_path) as whole:
        harness, stand_in = whole.harness, whole.harness.stand_in
        agents = harness.orchestrator(**whole.settings)
        await agents.create()
        whole.model.replies.append(chat_stream("There are 42."))
        code, printed, reported = await program(whole.settings, "ask", "How many orders?")
        assert (code, printed.strip()) == (0, "There are 42."), reported
        assert list(stand_in.queues.values.values()) == [["There are 42."]]
        assert "How many orders?" in whole.model.asked[-1].body["messages"][-1]["content"]
        assert await agents.delete() == ()
        assert stand_in.left() == []


@pytest.mark.proof
@pytest.mark.parametrize("option", [None, "--classic", "--mcp"])
async def test_dev_py_foundry_shows_the_loop_and_leaves_nothing(option: str | None) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.local.foundry", *([option] if option else ())),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(300):
        shown = (await process.communicate())[0].decode()
    assert process.returncode == 0, shown
    assert ("queue, question" in shown) is ("queue, answer" in shown) is (option != "--mcp")
    assert "Revenue by month" in shown
    assert shown.strip().endswith("What is left in the project: nothing.")
