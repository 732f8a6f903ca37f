"""Foundry's tools over a model that answers as a test says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from app.agent.agent import Agent
from app.foundry.tools.agent_answerer import ReadOnlyTools
from app.foundry.tools.foundry_tool import FoundryTool
from app.foundry.tools.tools import FoundryToolServices, foundry_tools
from app.settings.foundry_settings import FoundryToolSettings
from app.settings.genie_settings import GenieSettings
from app.storage.conversations import ConversationKey
from app.tools.base import AnyTool
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.tools import StaticTools


class ToolsOfModel:
    """`forgotten` are the conversations whose results were deleted."""

    def __init__(
        self, model: ScriptedModel, tools: Sequence[AnyTool] = (), *, requires_person: bool = False, **settings: Any
    ) -> None:
        self.model = model
        self.forgotten: list[ConversationKey] = []
        agent = Agent(model, [ReadOnlyTools(StaticTools(tools))], system_prompt="Be brief.", history_token_budget=0)
        self.tools = foundry_tools(
            FoundryToolServices(
                FoundryToolSettings.model_validate(settings),
                agent,
                GenieSettings.model_validate({}),
                _not_needed,
                _not_needed,
                _not_needed,
                self._forget,
                requires_person=requires_person,
            )
        )

    def tool(self, name: str) -> FoundryTool:
        return next(tool for tool in self.tools if tool.name == name)

    async def _forget(self, conversation: ConversationKey) -> None:
        self.forgotten.append(conversation)


def _not_needed() -> NoReturn:
    raise AssertionError("neither Genie nor the Jobs API is asked here")
