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
from app.bot.bot_app import BotApp
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
        settings = self.settings
        connection_string = settings.insights_connection_string
        sign_in = settings.insights_authentication
        destination = Destination(
            service=settings.site or "databricks-agent",
            version=f"{VERSION}+{read_build()}",
            instance=settings.instance or platform.node(),
            connection_string=connection_string.get_secret_value() if connection_string else None,
            by_identity=sign_in is not None,
            client_id=sign_in.partition("ClientId=")[2] or None if sign_in else None,
        )
        return Telemetry(destination, records_text=settings.telemetry_records_text)

    @property
    def _storage_location(self) -> Path | StorageAccount:
        settings = self.settings
        if not settings.uses_storage_account:
            return settings.conversations_file
        return StorageAccount(
            settings.storage_connection_string,
            settings.storage_tables or "",
            settings.storage_queues or "",
            settings.storage_client_id,
        )

    @cached_property
    def store(self) -> Store:
        return open_store(self._storage_location)

    @cached_property
    def queue(self) -> Queue:
        return open_queue(self._storage_location, QUEUE, self.store)

    @cached_property
    def workspace(self) -> Workspace:
        settings = self.settings
        address = WorkspaceUrl.parse(settings.databricks_base_url)
        choice = CredentialChoice(
            token=settings.databricks_token,
            client_id=settings.databricks_client_id,
            client_secret=settings.databricks_client_secret,
            auth_type=settings.databricks_auth_type,
            config_profile=settings.databricks_config_profile,
            bot_app_id=settings.bot_app_id,
        )
        return Workspace(address, choose_credential(address.host, choice))

    @cached_property
    def model(self) -> DatabricksModel:
        settings = self.settings
        return DatabricksModel(
            settings.databricks_model_name,
            self.workspace,
            api=settings.databricks_api,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
        )

    @cached_property
    def agent(self) -> Agent:
        settings = self.settings
        return Agent(
            self.model,
            ToolRegistry([ClockTool()] if settings.databricks_tools else []),
            system_prompt=settings.system_prompt,
            history_token_budget=settings.history_token_budget,
            max_answer_characters=settings.max_answer_characters,
            # On a developer's machine the words are the developer's own.
            logs_details=settings.telemetry_records_text or not settings.in_azure,
        )

    @cached_property
    def turns(self) -> TurnRunner:
        settings = self.settings
        commands = Commands(self.store, self._about)
        shelf = TurnBackend(self.store, self.queue, settings.turn_lease_seconds)
        return TurnRunner(self.agent, commands, shelf, time_limit=settings.turn_timeout_seconds)

    @cached_property
    def bot(self) -> BotApp:
        settings = self.settings
        identity = BotIdentity(
            app_id=settings.bot_app_id,
            app_type=settings.bot_app_type,
            tenant_id=settings.bot_tenant_id,
            password=settings.bot_password,
            cloud=settings.bot_cloud,
            channels=settings.bot_channels,
            accepts_emulator=settings.accepts_emulator,
        )
        return BotApp(identity, self.turns, self.store, self.telemetry, image_hosts=settings.image_hosts)

    @property
    def messages(self) -> MessagesEndpoint:
        self._install_sigterm_handler()
        return self.bot.messages

    @property
    def unfinished(self) -> TurnQueueHandler:
        self._install_sigterm_handler()
        return self.bot.unfinished

    def _install_sigterm_handler(self) -> None:
        # Hosts on a developer's machine say themselves when they end.
        if self.settings.in_azure:
            self._stop_signal.listen()

    @cached_property
    def _stop_signal(self) -> StopSignal:
        return StopSignal(self.close)

    async def delete_old(self) -> int:
        """Deletes what is older than conversations are kept; how much. Raises
        `app.storage.storage_errors.StorageError`."""
        old = time.time() - self.settings.retention_days * 24 * 3600
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
        host = urlsplit(self.settings.databricks_base_url).hostname or ""
        # Asked first: which of a developer's credentials is used is known afterwards.
        identity = await self.workspace.identity()
        return About(self.settings.databricks_model_name, host, self.workspace.credential.name, identity)

    async def close(self) -> None:
        """Lets running turns end or ends them, then closes what was opened."""
        opened = vars(self)
        for name in ("health", "bot", "model", "queue", "store", "telemetry"):
            if name in opened:
                await opened[name].close()
