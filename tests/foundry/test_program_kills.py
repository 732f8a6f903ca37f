"""The real program is killed with SIGKILL at each call that it makes; `delete` leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.foundry.agents.command import main
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import served
from tests.foundry.agents.conftest import QUEUES, answered

ROOT = Path(__file__).parents[2]
ASK = ["ask", "1. How many?\n2. How much?"]
# Of calls that are repeated, such as polls.
MOST_OF_A_CALL = 2


@dataclass
class Program:
    """`way` are options before each command."""

    project: FoundryStandIn
    address: str
    way: list[str]

    @property
    def settings(self) -> dict[str, str]:
        needed = {"PROJECT_ENDPOINT_ENT": self.address, "MODEL_DEPLOYMENT_NAME": "gpt-5.1"}
        return needed | {"STORAGE_SERVICE_ENDPOINT": QUEUES, "FOUNDRY_SCALE_FACTOR": "2"}

    async def run(self, *arguments: str) -> None:
        assert await asyncio.to_thread(main, [*self.way, *arguments], self.settings) == 0

    async def calls_of(self, *arguments: str) -> list[tuple[str, int]]:
        """Each call that the command makes, and how many of its kind come before it."""
        self.project.faults.calls.clear()
        await self.run(*arguments)
        made = Counter(self.project.faults.calls)
        return [(call, before) for call, times in made.items() for before in range(min(times, MOST_OF_A_CALL))]

    async def kill_at(self, call: str, before: int, *arguments: str) -> bool:
        """Whether the program made the call, which is carried out, and whose answer never comes."""
        fault = self.project.faults.add(call, None, after=True, skipped=before)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.foundry", *self.way, *arguments),
            cwd=ROOT,
            env={**os.environ, **self.settings},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        reached, ended = asyncio.create_task(fault.reached.wait()), asyncio.create_task(process.wait())
        async with asyncio.timeout(120):
            await asyncio.wait([reached, ended], return_when=asyncio.FIRST_COMPLETED)
        with suppress(ProcessLookupError):
            process.kill()
        await ended
        reached.cancel()
        self.project.faults.waiting.clear()
        return fault.reached.is_set()


@pytest.mark.proof
@pytest.mark.parametrize("way", [[], ["--classic"]], ids=["responses", "classic"])
@pytest.mark.parametrize(
    ("first", "command"),
    [([], ["create"]), (["create"], ASK), (["create"], ["delete"])],
    ids=["create", "ask", "delete"],
)
async def test_a_kill_at_each_call_leaves_nothing_after_delete(
    way: list[str], first: list[str], command: list[str], figure: Callable[[str], None]
) -> None:
    project = FoundryStandIn()
    project.queues.call = answered  # type: ignore[method-assign]
    async with served(project) as address:
        program = Program(project, address, way)
        if first:
            await program.run(*first)
        calls = await program.calls_of(*command)
        met = 0
        for call, before in calls:
            await program.run("delete")
            if first:
                await program.run(*first)
            met += await program.kill_at(call, before, *command)
            await program.run("delete")
            assert (project.left(), project.responses.all) == ([], {}), f"killed at {call}, {before} before it"
    assert met >= len(calls) - MOST_OF_A_CALL
    figure(f"{command[0]}: SIGKILL at each of {met} calls, nothing was left after delete")
