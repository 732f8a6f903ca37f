"""A region is lost with its Function App and its storage account; another one, with its own project, takes over."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.local.foundry import create_tool_queues
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.azurite import Azurite, installed
from tests.fakes.foundry_project import served
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint, Stream, chat_stream
from tests.faults.workers import ROOT, Workers


@dataclass(frozen=True, slots=True)
class Region:
    stand_in: FoundryStandIn
    project: str
    workers: Workers

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """`python -m app.foundry`: exit code, standard output and standard error."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment |= {
            "PROJECT_ENDPOINT_ENT": self.project,
            "MODEL_DEPLOYMENT_NAME": "gpt-5.1",
            "STORAGE_SERVICE_ENDPOINT": self.stand_in.queues.endpoint,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.foundry", *arguments, cwd=ROOT, env=environment, stdout=-1, stderr=-1
        )
        async with asyncio.timeout(120):
            output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def region(azurite: Azurite, folder: Path, model: ServingEndpoint) -> AsyncIterator[Region]:
    folder.mkdir()  # noqa: ASYNC240 - a folder of the test

    def settings(_: str) -> dict[str, str]:
        return {
            "AzureWebJobsStorage": azurite.connection_string,
            "DATABRICKS_BASE_URL": model.base_url,
            "DATABRICKS_MODEL_NAME": model.name,
            "DATABRICKS_TOKEN": TOKEN,
        }

    await create_tool_queues(azurite.connection_string, ["ask", "ask-data", "diagnose-job"])
    stand_in = FoundryStandIn(azurite.connection_string)
    async with served(stand_in) as project, Workers(1, folder, settings, time.monotonic) as workers:
        yield Region(stand_in, project, workers)


@pytest.mark.proof
async def test_another_region_answers_when_its_agents_are_created_and_what_waited_in_the_lost_one_is_lost(
    azurite: Azurite, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    async with ServingEndpoint() as model:
        with Azurite(installed()) as lost_storage:
            async with region(lost_storage, tmp_path / "first", model) as first:
                assert (await first.run("create"))[0] == 0
                assert await asked(first, model, "Revenue is 42.") == "Revenue is 42."
                model.replies.append(Stream([asyncio.Event()]))
                waiting = asyncio.create_task(first.run("ask", "Why?", "--timeout", "20"))
                async with asyncio.timeout(20):
                    while len(model.asked) < 2:  # noqa: ASYNC110 - another process asks
                        await asyncio.sleep(0.05)
                first.workers.current[0].process.send_signal(signal.SIGKILL)
                lost_storage.__exit__()
                code, answer, errors = await waiting
                assert (code, answer) == (2, ""), errors
        async with region(azurite, tmp_path / "second", model) as second:
            began = time.monotonic()
            code, _, errors = await second.run("ask", "What is revenue?")
            assert code == 1, "agents that were never created were asked"
            assert "create" in errors
            assert (await second.run("create"))[0] == 0
            assert await asked(second, model, "Revenue is 43.") == "Revenue is 43."
            figure(f"create and first answer in the second region: {time.monotonic() - began:.0f} s")
            assert len(second.stand_in.queues.values) == 1, "what waited in the lost region was answered in the other"
            assert (await second.run("delete"))[0] == 0
            assert second.stand_in.left() == []


async def asked(there: Region, model: ServingEndpoint, answer: str) -> str:
    model.replies.append(chat_stream(answer))
    code, said, errors = await there.run("ask", "What is revenue?")
    assert code == 0, errors
    return said.strip()
