"""A stand-in project of the classic API, and our program in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.foundry.agents.agent_settings import AgentProgramSettings, load_agent_settings
from app.foundry.agents.classic_client import ClassicProject, open_classic_project
from app.foundry.agents.classic_orchestrator import ClassicOrchestrator
from app.foundry.tools.tool_definitions import tool_definitions
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import served
from tests.foundry.agents.conftest import QUEUES, answered, quick_calls

ORCHESTRATOR, SPECIALIST = "databricks-orchestrator", "databricks-specialist"
CREATE = "POST /assistants"
MARK = {"made_by": "databricks-agent-for-teams", "installation": "databricks"}
ASKING = ["POST /threads", "POST /threads/{id}/messages", "POST /threads/{thread}/runs"]
READING = ["GET /threads/{thread}/runs/{id}", "GET /threads/{id}/messages", "GET /threads/{thread}/runs/{id}/steps"]


@dataclass
class ClassicProgramHarness:
    stand_in: FoundryStandIn
    address: str
    project: ClassicProject
    lines: list[str] = field(default_factory=list)

    def environment(self, **given: str) -> dict[str, str]:
        needed = {"PROJECT_ENDPOINT_ENT": self.address, "MODEL_DEPLOYMENT_NAME": "gpt-4.1"}
        return needed | {"STORAGE_SERVICE_ENDPOINT": QUEUES} | given

    def settings(self, **given: str) -> AgentProgramSettings:
        return load_agent_settings(self.environment(**given), classic=True)

    def orchestrator(self, **given: str) -> ClassicOrchestrator:
        settings = self.settings(**given)
        tools = tuple(tool_definitions(settings.tools, settings.genie).values())
        return ClassicOrchestrator(self.project, settings, tools, self.lines.append, poll_seconds=0.01)

    def agents(self) -> dict[str, dict[str, Any]]:
        return {agent["name"]: agent for agent in self.stand_in.classic.all.values()}

    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
async def harness() -> AsyncIterator[ClassicProgramHarness]:
    stand_in = FoundryStandIn()
    stand_in.queues.call = answered  # type: ignore[method-assign]
    async with served(stand_in) as address, open_classic_project(address, quick_calls()) as project:
        yield ClassicProgramHarness(stand_in, address, project)
