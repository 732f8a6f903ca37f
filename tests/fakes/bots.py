"""The bot with a scripted model, before a channel of its own, on one store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from app.agent.agent import Agent
from app.bot.auth.bot_identity import BotIdentity
from app.bot.bot_app import BotApp, build_bot
from app.bot.channel import DEFAULT_DISPLAY, DisplaySettings
from app.composition.job_chat import JobChat
from app.composition.schedules import Schedules
from app.databricks.genie_api import GenieApi
from app.databricks.mlflow_assessments import MlflowAssessments
from app.databricks.workspace_client import WorkspaceClient
from app.feedback.ratings import Ratings
from app.http import HttpAnswer
from app.local.connector_server import ConnectorServer
from app.messaging.actions import ActionHandler
from app.messaging.conversation_references import ConversationReferences
from app.messaging.result_files import ResultFiles
from app.storage.documents import DocumentStore
from app.storage.queue import Queue
from app.storage.queue_encoding import decode_message
from app.storage.sqlite.sqlite_store import SqliteStore
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.tools.registry import ToolProvider
from app.turns.answer_removal import AnswerRemoval
from app.turns.lease import TurnBackend
from app.turns.runner import TurnRunner
from tests.fakes.activities import a_message
from tests.fakes.commands import commands_of
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.workspaces import workspace_at

MakeJobChat = Callable[[DocumentStore, ConversationReferences, Queue, WorkspaceClient], JobChat]
LAPTOP = BotIdentity()
LOCAL = {"Host": "localhost:7071", "Content-Type": "application/json"}


class Bot:
    def __init__(
        self,
        app: BotApp,
        model: ScriptedModel,
        connector: ConnectorServer,
        store: SqliteStore,
        documents: DocumentStore,
        references: ConversationReferences,
        file: Path,
        backend: TurnBackend,
        ratings: Ratings,
        schedules: Schedules,
    ) -> None:
        self.app = app
        self.model = model
        self.connector = connector
        self.store = store
        self.documents = documents
        self.references = references
        self.file = file
        self.queue = store.queue("turns")
        self.backend = backend
        self.ratings = ratings
        self.schedules = schedules

    async def send(self, body: dict[str, Any] | bytes, method: str = "POST", **headers: str) -> HttpAnswer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.app.messages.receive(method, {**LOCAL, **headers}, raw)

    def activity(self, text: str = "Why?", **more: Any) -> dict[str, Any]:
        return a_message(self.connector.service_url, text, **more)

    def on_the_queue(self) -> list[bytes]:
        """Hidden ones too, as a look into the file shows them."""
        with closing(sqlite3.connect(self.file)) as connection:
            return [
                decode_message(content).encode()
                for (content,) in connection.execute("SELECT content FROM queue_message WHERE queue = 'turns'")
            ]

    async def handle_queue(self) -> int:
        """As the host of the queue trigger does it, for what is visible now. Returns how many messages there were."""
        taken = await self.queue.receive(32, visibility_timeout=60)
        for message in taken:
            await self.app.queue.dispatch(message.body.encode())
            await self.queue.delete(message.receipt)
        return len(taken)

    @property
    def messages(self) -> list[str]:
        return [call.text for call in self.connector.calls if call.is_message]


MakeBot = Callable[..., Bot]


@asynccontextmanager
async def bots(folder: Path, workspace_url: str = "http://127.0.0.1:9") -> AsyncIterator[MakeBot]:
    """Makes workers that share a store, a channel and a workspace."""
    async with ConnectorServer() as connector, workspace_at(f"{workspace_url}/serving-endpoints") as workspace:
        apps, log = [], SqliteStore(folder / "c.sqlite")
        documents, opened = log.documents(), []
        telemetry = Telemetry(Destination("bot", "1", "here"))

        def make(
            *replies: Any,
            identity: BotIdentity = LAPTOP,
            acknowledge_after_seconds: float = 12.0,
            display: DisplaySettings = DEFAULT_DISPLAY,
            action_handlers: Sequence[ActionHandler] = (),
            tool_providers: Sequence[ToolProvider] = (),
            result_files: ResultFiles | None = None,
            jobs: MakeJobChat | None = None,
        ) -> Bot:
            model, references = ScriptedModel(replies), ConversationReferences(documents)
            opened.append(references)
            ratings = Ratings(documents, MlflowAssessments(workspace), GenieApi(workspace), retention_days=90)
            backend = TurnBackend(log, log.queue("turns"), log.artifacts(), feedback_targets=lambda: ratings.targets)
            schedules = Schedules(documents, references)
            job_chat = jobs(documents, references, log.queue("turns"), workspace) if jobs else None
            if job_chat is not None:
                tool_providers = [*tool_providers, job_chat.tool_provider]
                action_handlers = [*action_handlers, *job_chat.action_handlers]
            agent = Agent(model, tool_providers, system_prompt="", history_token_budget=1000, review=schedules.review)
            removal = AnswerRemoval(log, backend.queue, references, documents)
            commands = commands_of(log, references=references, schedules=schedules, removal=removal, job_chat=job_chat)
            turns = TurnRunner(agent, commands, backend, time_limit_seconds=30)
            options: dict[str, Any] = {
                "work_queue": backend.queue,
                "acknowledge_after_seconds": acknowledge_after_seconds,
                "display": display,
                "action_handlers": action_handlers,
                "ratings": lambda: ratings,
                "result_files": result_files,
            }
            apps.append(build_bot(identity, turns, log, documents, references, telemetry, **options))
            if job_chat is not None:
                job_chat.attach(apps[-1])
            file = folder / "c.sqlite"
            return Bot(apps[-1], model, connector, log, documents, references, file, backend, ratings, schedules)

        yield make
        for app in apps:
            await app.close()
        for references in opened:
            await references.close()
        await log.close()
        await telemetry.close()
