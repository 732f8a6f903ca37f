"""A stand-in project that answers, and our program in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from app.foundry.agents.agent_settings import AgentProgramSettings, load_agent_settings
from app.foundry.agents.foundry_calls import FoundryCalls
from app.foundry.agents.project_client import FoundryProject, open_project
from app.foundry.agents.responses_orchestrator import ResponsesOrchestrator
from app.foundry.tools.tool_definitions import tool_definitions
from app.local.foundry_stand_in.server import FoundryStandIn
from app.resilience.retry import Backoff
from tests.fakes.foundry_project import served

QUICK = Backoff(first_seconds=0.001, attempts=4)
QUEUES = "http://127.0.0.1:9/devstoreaccount1"
"""Where nothing listens."""


@dataclass
class ProgramHarness:
    """The program against the stand-in project: `lines` is what it reported."""

    stand_in: FoundryStandIn
    address: str
    project: FoundryProject
    lines: list[str] = field(default_factory=list)

    def settings(self, **given: str) -> AgentProgramSettings:
        needed = {"PROJECT_ENDPOINT_ENT": self.address, "MODEL_DEPLOYMENT_NAME": "gpt-5.1"}
        return load_agent_settings(needed | {"STORAGE_SERVICE_ENDPOINT": QUEUES} | given)

    def orchestrator(self, **given: str) -> ResponsesOrchestrator:
        settings = self.settings(**given)
        tools = tuple(tool_definitions(settings.tools, settings.genie).values())
        return ResponsesOrchestrator(self.project, settings, tools, self.lines.append, poll_seconds=0.01)

    def answer_with(self, function: Callable[..., Awaitable[str]]) -> None:
        """In place of our function, whose answers the tests of the queues see."""
        self.stand_in.queues.call = function  # type: ignore[method-assign, assignment]

    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(scope="module")
def one_tls_context() -> Iterator[None]:
    """Each client loads the certificates of its own otherwise, for 50 ms of CPU, and the stand-in speaks plain HTTP."""
    context = httpx2.create_ssl_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx2._transports.default.create_ssl_context", lambda **_: context)
        yield


@pytest.fixture
async def harness(one_tls_context: None) -> AsyncIterator[ProgramHarness]:
    stand_in = FoundryStandIn()
    async with served(stand_in) as address, open_project(address, quick_calls()) as project:
        at = ProgramHarness(stand_in, address, project)
        at.answer_with(answered)
        yield at


def quick_calls(**options: Any) -> FoundryCalls:
    return FoundryCalls(backoff=QUICK, **options)


async def answered(tool: Mapping[str, Any], correlation_id: str, arguments: Mapping[str, Any]) -> str:
    return f"{tool['azure_function']['function']['name']} says 42 to {arguments['query']}"
