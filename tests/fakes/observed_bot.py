"""A bot whose telemetry goes through the real exporter to an ingestion endpoint on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from app.agent.agent import Agent
from app.bot.auth.bot_identity import BotIdentity
from app.bot.bot_app import BotApp, build_bot
from app.local.connector_server import ConnectorServer
from app.messaging.conversation_references import ConversationReferences
from app.storage.sqlite.sqlite_store import SqliteStore
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.tools.base import AnyTool
from app.tools.clock import ClockTools
from app.tools.registry import ToolProvider
from app.turns.lease import TurnBackend
from app.turns.runner import TurnRunner
from tests.fakes.activities import a_message
from tests.fakes.application_insights import ApplicationInsights
from tests.fakes.commands import commands_of
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.tools import StaticTools

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLED_FROM = f"00-{TRACE}-b7ad6b7169203331-00"
LOCAL = {"Host": "localhost:7071", "Content-Type": "application/json"}
IN_TEAMS: dict[str, Any] = {
    "channelId": "msteams",
    "conversation": {"id": "c1", "conversationType": "personal", "tenantId": "t"},
}


class ObservedBot:
    def __init__(
        self,
        app: BotApp,
        telemetry: Telemetry,
        connector: ConnectorServer,
        insights: ApplicationInsights,
        store: SqliteStore,
    ) -> None:
        self.app = app
        self.telemetry = telemetry
        self.connector = connector
        self.insights = insights
        self.store = store

    async def ask(self, text: str = "Why?", traceparent: str | None = CALLED_FROM, **more: Any) -> int:
        activity = a_message(self.connector.service_url, text, **more)
        answer = await self.app.messages.receive("POST", LOCAL, json.dumps(activity).encode(), None, traceparent)
        return answer.status

    def spans(self) -> dict[str, dict[str, Any]]:
        return {
            span["name"]: span for kind in ("RequestData", "RemoteDependencyData") for span in self.insights.of(kind)
        }


class MakeBot(Protocol):
    async def __call__(
        self, *replies: Any, records_text: bool = False, closing: float = 5.0, tools: tuple[AnyTool, ...] = ()
    ) -> ObservedBot: ...


@asynccontextmanager
async def observed_bots(folder: Path, clock: Callable[[], float] = time.time) -> AsyncIterator[MakeBot]:
    """They share one file, and `clock`, in seconds since 1970."""
    open_things: list[Any] = []
    async with ConnectorServer() as connector, ApplicationInsights() as insights:

        async def make(
            *replies: Any, records_text: bool = False, closing: float = 5.0, tools: tuple[AnyTool, ...] = ()
        ) -> ObservedBot:
            log = SqliteStore(folder / "c.sqlite", clock=clock)
            providers: list[ToolProvider] = [ClockTools(), StaticTools(tools)]
            agent = Agent(ScriptedModel(replies), providers, system_prompt="", history_token_budget=1000)
            backend = TurnBackend(log, log.queue("turns"), log.artifacts(), clock=clock)
            turns = TurnRunner(agent, commands_of(log), backend, time_limit_seconds=30)
            destination = Destination("the-bot", "0.1.0+abc", "worker-1", connection_string=insights.connection_string)
            telemetry = Telemetry(destination, records_text=records_text, closing_seconds=closing)
            documents = log.documents()
            references = ConversationReferences(documents)
            app = build_bot(BotIdentity(), turns, log, documents, references, telemetry, work_queue=backend.queue)
            open_things.extend([telemetry, log, references, app])
            return ObservedBot(app, telemetry, connector, insights, log)

        yield make
        for thing in reversed(open_things):
            await thing.close()
