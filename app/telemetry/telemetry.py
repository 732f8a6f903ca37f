"""Telemetry of one worker: traces of its turns, kept until there is time to set up their export."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from app.telemetry.destination import Destination
from app.telemetry.recorder import Recorder
from app.telemetry.turn import TurnSpan

if TYPE_CHECKING:
    from app.telemetry.pipeline import Pipeline

_log = logging.getLogger(__name__)


class Telemetry:
    """`records_text`: whether traces carry what people asked and what was answered. `closing`: seconds for the end."""

    def __init__(self, destination: Destination, *, records_text: bool = False, closing: float = 5.0) -> None:
        self._destination = destination
        self._records_text = records_text
        self._closing = closing
        self._recorder = Recorder()
        self._closed = False
        self._setting_up: asyncio.Task[Pipeline | None] | None = None

    def turn(self, traceparent: str | None = None) -> TurnSpan:
        """`traceparent`: of the call that brought the activity, https://www.w3.org/TR/trace-context/."""
        return TurnSpan(self._recorder, traceparent, records_text=self._records_text)

    def answered(self) -> None:
        """An answer has been sent: now there is time for what is slow to import."""
        if self._setting_up is None:
            self._setting_up = asyncio.create_task(self._set_up())

    async def _set_up(self) -> Pipeline | None:
        try:
            pipeline = await asyncio.to_thread(_pipeline, self._destination)
        except Exception:
            _log.exception("Telemetry could not be set up; the bot works without")
            return None
        self._recorder.attach(pipeline)
        return pipeline

    async def close(self) -> None:
        """Sends what there is, for `closing` seconds at most. Nothing is recorded after it."""
        if self._setting_up is None or self._closed:
            return
        self._closed = True
        pipeline = await self._setting_up
        if pipeline is not None:
            await asyncio.to_thread(pipeline.close, self._closing)


def _pipeline(destination: Destination) -> Pipeline:
    from app.telemetry.pipeline import Pipeline  # noqa: PLC0415

    return Pipeline(destination)
