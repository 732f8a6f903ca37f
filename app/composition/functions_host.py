"""Wiring: what is built from what, once per worker, as late as possible."""

from __future__ import annotations

import logging
import os
import platform
import time
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from app.agent.agent import Agent
from app.agent.commands import About, Commands
from app.bot.auth.bot_identity import BotIdentity
from app.bot.bot_app import BotApp, build_bot
from app.bot.inbound.messages_endpoint import MessagesEndpoint
from app.bot.resume import TurnQueueHandler
from app.composition.sigterm import StopSignal
from app.config import Settings, SettingsError, load_settings
from app.databricks.credentials import CredentialChoice, choose_credential
from app.databricks.workspace_client import Workspace, WorkspaceUrl
from app.databricks_client import DatabricksModel
from app.health.dependencies import Dependencies
from app.health.health import Health
from app.health.unconfigured import Unconfigured
from app.storage.factory import StorageAccount, open_queue, open_store
from app.storage.ledger import Store
from app.storage.queue import Queue
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.tools.clock import ClockTool
from app.tools.registry import ToolRegistry
from app.turns.lease import TurnBackend
from app.turns.runner import TurnRunner
from app.version import VERSION, read_build

QUEUE = "turns"


def start() -> Services | Unconfigured:
    """Raises `app.config.SettingsError` on a developer's machine; in Azure an app without functions could not say why.

    Core Tools and `app.local` set AZURE_FUNCTIONS_ENVIRONMENT to Development.
    """
    try:
        return Services.from_environment()
    except SettingsError as error:
        if os.environ.get("AZURE_FUNCTIONS_ENVIRONMENT") == "Development":
            raise
        return Unconfigured(error)


class Services:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def from_environment(cls) -> Services:
        """Raises `app.config.SettingsError`."""
        # Its line for every request to the model would be most of the log.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        return cls(load_settings())

    @cached_property
    def telemetry(self) -> Telemetry:
        settings, host = self.settings.telemetry, self.settings.host
        connection_string = settings.connection_string
        destination = Destination(
            service=host.app_name or "databricks-agent",
            version=f"{VERSION}+{read_build()}",
            instance=host.instance or platform.node(),
            connection_string=connection_string.get_secret_value() if connection_string else None,
            by_identity=settings.authentication is not None,
            client_id=settings.client_id,
        )
        return Telemetry(destination, records_text=settings.records_text)

    @property
    def _storage_location(self) -> Path | StorageAccount:
        settings = self.settings.storage
        if not settings.uses_storage_account:
            return settings.conversations_file
        return StorageAccount(
            settings.connection_string,
            settings.table_service_uri or "",
            settings.queue_service_uri or "",
            settings.client_id,
        )

    @cached_property
    def store(self) -> Store:
        return open_store(self._storage_location)

    @cached_property
    def queue(self) -> Queue:
        return open_queue(self._storage_location, QUEUE, self.store)

    @cached_property
    def workspace(self) -> Workspace:
        settings = self.settings.databricks
        address = WorkspaceUrl.parse(settings.base_url)
        choice = CredentialChoice(
            token=settings.token,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            auth_type=settings.auth_type,
            config_profile=settings.config_profile,
            bot_app_id=self.settings.bot.app_id,
        )
        return Workspace(address, choose_credential(address.host, choice))

    @cached_property
    def model(self) -> DatabricksModel:
        settings = self.settings.databricks
        return DatabricksModel(
            settings.model_name,
            self.workspace,
            api=settings.api,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
        )

    @cached_property
    def agent(self) -> Agent:
        settings = self.settings.agent
        return Agent(
            self.model,
            ToolRegistry([ClockTool()] if settings.offers_tools else []),
            system_prompt=settings.system_prompt,
            history_token_budget=settings.history_token_budget,
            max_answer_characters=settings.max_answer_characters,
            # On a developer's machine the words are the developer's own.
            logs_details=self.settings.telemetry.records_text or not self.settings.host.in_azure,
        )

    @cached_property
    def turns(self) -> TurnRunner:
        settings = self.settings.turns
        commands = Commands(self.store, self._about)
        shelf = TurnBackend(self.store, self.queue, settings.lease_seconds)
        return TurnRunner(self.agent, commands, shelf, time_limit=settings.timeout_seconds)

    @cached_property
    def bot(self) -> BotApp:
        settings = self.settings.bot
        identity = BotIdentity(
            app_id=settings.app_id,
            app_type=settings.app_type,
            tenant_id=settings.tenant_id,
            password=settings.password,
            cloud=settings.cloud,
            channels=settings.channels,
            accepts_emulator=self.settings.accepts_emulator,
        )
        return build_bot(identity, self.turns, self.store, self.telemetry, image_hosts=settings.image_hosts)

    @property
    def messages(self) -> MessagesEndpoint:
        self._install_sigterm_handler()
        return self.bot.messages

    @property
    def unfinished(self) -> TurnQueueHandler:
        self._install_sigterm_handler()
        return self.bot.turn_queue

    def _install_sigterm_handler(self) -> None:
        # Hosts on a developer's machine say themselves when they end.
        if self.settings.host.in_azure:
            self._stop_signal.listen()

    @cached_property
    def _stop_signal(self) -> StopSignal:
        return StopSignal(self.close)

    async def delete_old(self) -> int:
        """Deletes what is older than conversations are kept; how much. Raises
        `app.storage.storage_errors.StorageError`."""
        old = time.time() - self.settings.storage.retention_days * 24 * 3600
        return await self.telemetry.retention(self.store.delete_before(old))

    @cached_property
    def health(self) -> Health:
        checks = {
            "model": lambda: self.model.check_ready(),
            "storage": lambda: self.store.ping(),
            "queue": lambda: self.queue.ping(),
            "telemetry": self.telemetry.check,
        }
        return Health(Dependencies(checks))

    async def _about(self) -> About:
        host = urlsplit(self.settings.databricks.base_url).hostname or ""
        # Asked first: which of a developer's credentials is used is known afterwards.
        identity = await self.workspace.identity()
        return About(self.settings.databricks.model_name, host, self.workspace.credential.name, identity)

    async def close(self) -> None:
        """Lets running turns end or ends them, then closes what was opened."""
        opened = vars(self)
        for name in ("health", "bot", "model", "queue", "store", "telemetry"):
            if name in opened:
                await opened[name].close()
