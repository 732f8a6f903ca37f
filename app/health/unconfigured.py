"""Takes the host's place while a setting is wrong: a deployed app starts all the same, and reports what is wrong."""

from __future__ import annotations

import logging
from http import HTTPStatus

from app.config import SettingsError
from app.health.health import Health
from app.http import HttpAnswer

_log = logging.getLogger(__name__)


class Unconfigured:
    """Answers HTTP requests alone: a queue or a timer has nothing to call.

    Logs every problem, by the setting's name, once, at the first request: the Functions host drops what is logged
    outside of an invocation, and so at the start.
    """

    def __init__(self, error: SettingsError) -> None:
        self._unlogged: SettingsError | None = error
        self.health = Health(None, error.problems, on_request=self._log_problems)

    async def receive_activity(self, *call: object, **more: object) -> HttpAnswer:
        """Called as `app.composition.functions_host.FunctionsHost.receive_activity`: refuses every activity."""
        self._log_problems()
        return HttpAnswer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The agent's settings are not valid: its log and /api/health/dependencies say what to put there.",
            headers={"Cache-Control": "no-store"},
        )

    async def close(self) -> None:
        await self.health.close()

    def _log_problems(self) -> None:
        error, self._unlogged = self._unlogged, None
        if error is not None:
            _log.error("Every activity is refused until the settings are valid. %s", error)
