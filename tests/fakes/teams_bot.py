"""The bot as Teams meets it: with an app id, calls signed by the Bot Framework, and replies sent to Teams' own host."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from app.agent.agent import Agent
from app.agent.commands import About, Commands
from app.bot import bot_app
from app.bot.auth.bot_identity import BotIdentity
from app.bot.bot_app import BotApp, build_bot
from app.common.http_session import HttpSession
from app.http import HttpAnswer
from app.messaging.conversation_references import ConversationReferences
from app.storage.sqlite.sqlite_store import SqliteStore
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.tools.registry import ToolProvider
from app.turns.lease import TurnBackend
from app.turns.runner import TurnRunner
from tests.fakes.adapter_bot import APP, SERVICE_URL, TENANT, Tokens
from tests.fakes.bot_framework_login import BotFrameworkLogin
from tests.fakes.connector_service import ConnectorService
from tests.fakes.scripted_model import ScriptedModel


class _Tokens(Tokens):
    def __init__(self, _: BotIdentity) -> None:
        super().__init__()

    async def close(self) -> None:
        return None


def _session_to(service_url: str) -> type[HttpSession]:
    """What is sent to Teams goes to `service_url`."""

    class Redirected(HttpSession):
        def get(self) -> aiohttp.ClientSession:
            session: Any = super().get()
            if not hasattr(session, "to_teams"):
                session.to_teams = request = session._request

                async def redirected(method: str, url: str | URL, **options: Any) -> Any:
                    return await request(
                        method, URL(str(url).replace(SERVICE_URL, service_url), encoded=True), **options
                    )

                session._request = redirected
            return session  # type: ignore[no-any-return]

    return Redirected


class TeamsBot:
    def __init__(
        self,
        bot: BotApp,
        model: ScriptedModel,
        store: SqliteStore,
        teams: ConnectorService,
        login: BotFrameworkLogin,
    ) -> None:
        self._bot = bot
        self._login = login
        self.model = model
        self.store = store
        self.teams = teams

    async def receive(self, activity: dict[str, Any]) -> HttpAnswer:
        now = time.time()
        claims = {"iss": "https://api.botframework.com", "aud": APP, "serviceurl": SERVICE_URL}
        token = self._login.token({**claims, "nbf": now - 60, "exp": now + 3600})
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return await self._bot.messages.receive("POST", headers, json.dumps(activity).encode())


@asynccontextmanager
async def a_teams_bot(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *replies: Any, tools: Sequence[ToolProvider] = ()
) -> AsyncIterator[TeamsBot]:
    async with ConnectorService() as teams, BotFrameworkLogin() as login:
        monkeypatch.setattr(bot_app, "HttpSession", _session_to(teams.service_url))
        monkeypatch.setattr(bot_app, "AppCredentials", _Tokens)
        store, model = SqliteStore(folder / "c.sqlite"), ScriptedModel(replies)
        telemetry = Telemetry(Destination("bot", "1", "here"))

        async def about() -> About:
            return About("m", "w", "c")

        agent = Agent(model, tools, system_prompt="", history_token_budget=1000)
        backend = TurnBackend(store, store.queue("turns"), store.artifacts())
        turns = TurnRunner(agent, Commands(store.forget, about), backend, time_limit_seconds=30)
        identity = BotIdentity(APP, "SingleTenant", TENANT)
        documents = store.documents()
        references = ConversationReferences(documents)
        bot = build_bot(
            identity,
            turns,
            store,
            documents,
            references,
            telemetry,
            work_queue=backend.queue,
            channel_metadata_url=login.metadata_url,
        )
        yield TeamsBot(bot, model, store, teams, login)
        await bot.close()
        await references.close()
        await store.close()
        await telemetry.close()
