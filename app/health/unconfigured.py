"""In the place of the services while a setting is wrong: a deployed app starts all the same, and says so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from app.bot.messages import HttpAnswer
from app.config import SettingsError
from app.health.health import Health

_log = logging.getLogger(__name__)


class NoMessages:
    """Takes no activity: nobody could be answered, or even known."""

    async def receive(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        client_address: str | None = None,
        traceparent: str | None = None,
    ) -> HttpAnswer:
        return HttpAnswer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The agent's settings are not valid: its log and /api/health/dependencies say what to put there.",
            headers={"Cache-Control": "no-store"},
        )


class Unconfigured:
    """Logs every problem, once, by the setting's name."""

    def __init__(self, error: SettingsError) -> None:
        _log.error("The agent answers nobody. %s", error)
        self.health = Health(None, error.problems)
        self.messages = NoMessages()

    async def close(self) -> None:
        await self.health.close()
