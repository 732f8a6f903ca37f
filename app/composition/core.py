"""The agent and what it works with, as every host has them: no bot, and nothing of Azure Functions."""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.agent.agent import Agent
from app.agent.commands import About, Commands
from app.agent.turn import Turn
from app.composition.conversation_files import LazyConversationFiles
from app.composition.job_chat import HELP as JOB_HELP
from app.composition.job_chat import JobChat, JobWatchParts
from app.composition.ratings import LazyRatings
from app.composition.schedules import Schedules
from app.composition.tool_providers import (
    ConversationTools,
    RemoteTools,
    SweptTools,
    ToolServices,
    has_data_tools,
    tool_providers,
)
from app.config import CoreSettings
from app.databricks.current_user import CurrentUserLookup
from app.databricks.open_workspace import open_workspace
from app.databricks.workspace_url import WorkspaceUrl
from app.databricks_client import DatabricksModel
from app.messaging.conversation_references import ConversationReferences
from app.settings.host_environment import HostEnvironment
from app.settings.storage_settings import StorageSettings
from app.settings.telemetry_settings import TelemetrySettings
from app.storage.conversations import ConversationKey
from app.storage.factory import Storage, open_storage
from app.storage.storage_account import StorageAccount
from app.storage.storage_credential import StorageCredential
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.tools.registry import Closable
from app.translation import Sentence
from app.turns.lease import TurnBackend
from app.turns.runner import TurnRunner
from app.version import VERSION, read_build

if TYPE_CHECKING:
    from app.data.stored_results import StoredResults

TURN_QUEUE = "turns"

_SECONDS_PER_DAY = 24 * 3600


class Core:
    """Nothing here is slow to make: files, connections and heavy imports come with the first use.

    `managed_identity_client_id` names the identity that signs in to Databricks where the settings name no other.
    `allows_loopback_files`: attached files may come from this machine. With a `job_watch` chats can watch jobs, those
    of `job_workspace_url` where that is another workspace than the model's. `storage` is used where the
    settings of storage do not say all; `queue_name` is that of the turns.
    """

    def __init__(
        self,
        settings: CoreSettings,
        *,
        managed_identity_client_id: str | None = None,
        allows_loopback_files: bool = False,
        job_watch: Callable[[], JobWatchParts] | None = None,
        job_workspace_url: str = "",
        storage: Storage | None = None,
        queue_name: str = TURN_QUEUE,
    ) -> None:
        # httpx logs a line for every request to the model, which would be most of the log.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self.settings = settings
        self.telemetry = _telemetry(settings.telemetry, settings.host)
        self.storage_credential = StorageCredential(settings.storage.client_id)
        self.storage = storage or open_storage(storage_location(settings.storage), self.storage_credential)
        self.store = self.storage.conversations
        self.queue = self.storage.open_queue(queue_name)
        self.references = ConversationReferences(self.storage.documents)
        self.workspace = open_workspace(settings.databricks, managed_identity_client_id)
        self.job_workspace = self.workspace
        if job_workspace_url and WorkspaceUrl.parse(settings.databricks.base_url).host != job_workspace_url:
            elsewhere = settings.databricks.model_copy(update={"base_url": job_workspace_url})
            self.job_workspace = open_workspace(elsewhere, managed_identity_client_id)
        self._current_user = CurrentUserLookup(self.workspace)
        self.model = DatabricksModel(
            settings.databricks.model_name,
            self.workspace,
            api=settings.databricks.api,
            max_tokens=settings.databricks.max_tokens,
            temperature=settings.databricks.temperature,
        )
        self.ratings = LazyRatings(settings, self.workspace, self.storage.documents)
        self.schedules = Schedules(self.storage.documents, self.references)
        self.files = LazyConversationFiles(
            self.storage.artifacts,
            self.workspace,
            self.stored_results,
            allows_loopback=allows_loopback_files,
            brings_result_tools=not has_data_tools(settings),
        )
        self.job_chat = (
            JobChat(self.storage.documents, self.references, self.queue, self.job_workspace, job_watch)
            if job_watch is not None
            else None
        )
        self.tool_providers = tuple(
            tool_providers(
                ToolServices(
                    settings, self.workspace, self.storage, self.storage_credential, self.stored_results, self.files
                )
            )
        )
        # Who may see a job is asked of people in chats.
        of_chats = [self.job_chat.tool_provider] if self.job_chat is not None and settings.agent.offers_tools else []
        self.agent = Agent(
            self.model,
            [*self.tool_providers, *of_chats],
            system_prompt=settings.agent.system_prompt,
            history_token_budget=settings.agent.history_token_budget,
            max_answer_characters=settings.agent.max_answer_characters,
            # On a developer's machine the words are the developer's own.
            logs_details=settings.telemetry.records_text or not settings.host.in_azure,
            review=self.schedules.review,
            files=self.files if settings.agent.offers_tools else None,
        )
        self.turns = TurnRunner(
            self.agent,
            Commands(
                self._forget_chat,
                self._about,
                self.agent.tools_for,
                {"/schedule": self.schedules.command, **(self.job_chat.commands if self.job_chat else {})},
                self._remove,
                self.schedules.is_wanted,
                [JOB_HELP] if self.job_chat else [],
            ),
            TurnBackend(
                self.store,
                self.queue,
                self.storage.artifacts,
                settings.turns.lease_seconds,
                feedback_targets=lambda: self.ratings().targets,
            ),
            time_limit_seconds=settings.turns.timeout_seconds,
        )

    async def delete_expired(self) -> int:
        """Deletes what is older than the retention, and returns the number of rows. Raises `StorageError`."""
        oldest = time.time() - self.settings.storage.retention_days * _SECONDS_PER_DAY
        return await self.telemetry.retention(self._delete_expired(oldest))

    async def _delete_expired(self, oldest: float) -> int:
        for provider in self.tool_providers:
            if isinstance(provider, SweptTools):
                await provider.sweep()
        return await self.store.delete_before(oldest) + await self.storage.documents.delete_expired()

    async def check_tools(self) -> bool:
        """Whether there are tools that need something that does not belong to this app. Raises where that does not
        answer.
        """
        remote = [provider for provider in self.tool_providers if isinstance(provider, RemoteTools)]
        await asyncio.gather(*(provider.check() for provider in remote))
        return bool(remote)

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        """Deletes what is kept of a conversation, but its reference. Raises `StorageError`."""
        for provider in self.tool_providers:
            if isinstance(provider, ConversationTools):
                await provider.forget(key, threads=threads)
        await self.ratings().forget(key, threads=threads)
        await self.schedules.forget(key, threads=threads)
        if self.job_chat is not None:
            await self.job_chat.forget(key, threads=threads)
        await self.store.forget(key, threads=threads)

    async def _forget_chat(self, conversation: ConversationKey) -> None:
        await self.forget(conversation)
        if not conversation.thread:
            # Else the others in the channel or group could not be written to any more.
            await self.references.forget(conversation)

    def stored_results(self) -> StoredResults:
        """One for all: what is saved at the same time has to take its turn."""
        return self._stored_results

    @cached_property
    def _stored_results(self) -> StoredResults:
        from app.data.stored_results import StoredResults  # noqa: PLC0415

        return StoredResults(self.storage.artifacts)

    async def _remove(self, turn: Turn) -> Sentence:
        from app.turns.answer_removal import AnswerRemoval  # noqa: PLC0415

        remove_results = self.stored_results().remove
        removal = AnswerRemoval(self.store, self.queue, self.references, self.storage.documents, remove_results)
        return await removal.remove_last(turn)

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            if self.job_workspace is not self.workspace:
                closing.push_async_callback(self.job_workspace.close)
            # In the order in which they were made: they are closed in reverse, each even where another fails.
            for part in (
                self.telemetry,
                self.storage_credential,
                self.storage,
                self.queue,
                self.references,
                self.workspace,
                self.model,
                self.ratings,
                self.files,
            ):
                closing.push_async_callback(part.close)
            for provider in self.tool_providers:
                if isinstance(provider, Closable):
                    closing.push_async_callback(provider.close)

    async def _about(self) -> About:
        settings = self.settings.databricks
        # Which of a developer's credentials is used is known only after the identity has been asked for.
        user = await self._current_user.find()
        host = urlsplit(settings.base_url).hostname or ""
        return About(settings.model_name, host, self.workspace.credential.name, user)


def _telemetry(settings: TelemetrySettings, host: HostEnvironment) -> Telemetry:
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


def storage_location(settings: StorageSettings) -> Path | StorageAccount:
    if not settings.uses_storage_account:
        return settings.conversations_file
    return StorageAccount(
        connection_string=settings.connection_string,
        tables=settings.table_service_uri or "",
        queues=settings.queue_service_uri or "",
        blobs=settings.blob_service_uri or "",
        client_id=settings.client_id,
    )
