"""A connector to a channel over HTTP, whose clock only moves when it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.bot.auth.bot_identity import BotIdentity
from app.bot.auth.service_url import ServiceUrls
from app.bot.connector.connector_client import ConnectorClient
from app.bot.connector.send_errors import (
    SendError,
)
from app.common.http_session import HttpSession
from tests.fakes.connector_service import ConnectorService, Reply

MESSAGE = {"type": "message", "text": "Hello"}


@dataclass
class Tokens:
    failure: Exception | None = None
    number: int = 1

    async def token(self) -> str | None:
        if self.failure:
            raise self.failure
        return f"token-{self.number}"

    def forget(self, token: str) -> None:
        if token == f"token-{self.number}":
            self.number += 1


@dataclass
class Channel:
    service: ConnectorService
    connector: ConnectorClient
    tokens: Tokens
    session: HttpSession
    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    stands_still_for: float = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.stands_still_for

    async def send(self, activity: dict[str, Any] = MESSAGE, *, retry_seconds: float = 30, **more: Any) -> str | None:
        return await self.connector.send(self.service.service_url, "a:1", activity, retry_seconds=retry_seconds, **more)

    async def fails(self, *replies: Reply, activity: dict[str, Any] = MESSAGE, retry_seconds: float = 0) -> SendError:
        self.service.replies.extend(replies)
        with pytest.raises(SendError) as caught:
            await self.send(activity, retry_seconds=retry_seconds)
        return caught.value


@asynccontextmanager
async def a_channel(**limits: float) -> AsyncIterator[Channel]:
    session, tokens = HttpSession(), Tokens()
    async with ConnectorService() as service:
        channel: Channel
        connector = ConnectorClient(
            session,
            tokens,
            ServiceUrls(BotIdentity()),
            sleep=lambda seconds: channel.sleep(seconds),
            clock=lambda: channel.now,
            jitter=lambda: 1.0,
            **limits,
        )
        channel = Channel(service, connector, tokens, session)
        yield channel
        await session.close()
