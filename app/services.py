"""Wiring: what is built from what, once per worker, as late as possible."""

from __future__ import annotations

import logging
from functools import cached_property
from urllib.parse import urlsplit

from app.agent.agent import Agent
from app.agent.clock_tool import CurrentTime
from app.agent.commands import About, Commands
from app.agent.tools import Toolbox
from app.bot.messages import MessagesEndpoint
from app.config import Settings, load_settings
from app.databricks_client import DatabricksModel
from app.storage.sqlite import SqliteConversationLog
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)


class Services:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def from_environment(cls) -> Services:
        """Raises `app.config.SettingsError`."""
        return cls(load_settings())

    @cached_property
    def conversations(self) -> SqliteConversationLog:
        return SqliteConversationLog(self.settings.conversations_file)

    @cached_property
    def turns(self) -> TurnRunner:
        settings = self.settings
        agent = Agent(
            self.model,
            Toolbox([CurrentTime()]),
            system_prompt=settings.system_prompt,
            history_token_budget=settings.history_token_budget,
        )
        commands = Commands(self.conversations, self._about)
        return TurnRunner(agent, commands, self.conversations, time_limit=settings.turn_timeout_seconds)

    def _about(self) -> About:
        workspace = urlsplit(self.settings.databricks_base_url).hostname or ""
        return About(model=self.settings.databricks_model_name, workspace=workspace, access=self.model.credential_name)
