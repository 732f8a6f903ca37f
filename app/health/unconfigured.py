"""In the place of the services while a setting is wrong: a deployed app starts all the same, and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from app.config import SettingsError
from app.health.health import Health
from app.http import HttpAnswer

_log = logging.getLogger(__name__)


class NoMessages:
    """Takes no activity: nobody could be answered, or even known."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._tell = told

    async def receive(self, *call: object, **more: object) -> HttpAnswer:
        """Called as `app.bot.inbound.messages_endpoint.MessagesEndpoint.receive`."""
        self._tell()
        return HttpAnswer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The agent's settings are not valid: its log and /api/health/dependencies say what to put there.",
            headers={"Cache-Control": "no-store"},
        )


class Unconfigured:
    """Answers requests alone: it has nothing for a queue or a timer to start.

    Logs every problem, once, by the setting's name, as soon as somebody asks.

    The Functions host drops what is logged outside of an invocation, and so at the start.
    """

    def __init__(self, error: SettingsError) -> None:
        self._error: SettingsError | None = error
        self.health = Health(None, error.problems, told=self._tell)
        self.messages = NoMessages(self._tell)

    def _tell(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            _log.error("The agent answers nobody. %s", error)

    async def close(self) -> None:
        await self.health.close()
