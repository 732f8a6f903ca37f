"""Telemetry of one worker: traces and metrics, buffered until their exporter has been set up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from app.telemetry.destination import Destination
from app.telemetry.instruments import JOB_WATCH_PASSES
from app.telemetry.recorder import Recorder
from app.telemetry.span_records import Measurement, SpanKind
from app.telemetry.spans import Span
from app.telemetry.turn_span import TurnSpan

if TYPE_CHECKING:
    from app.telemetry.pipeline import Pipeline

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)

# Tried again with the next answer: the first failure may be temporary.
_MAX_SETUP_ATTEMPTS = 3


class TelemetryError(Exception):
    """Spans and metrics of this worker do not arrive."""


class Telemetry:
    """`records_text`: traces carry questions and answers. `closing_seconds`: the time limit of `close`."""

    def __init__(self, destination: Destination, *, records_text: bool = False, closing_seconds: float = 5.0) -> None:
        self._destination = destination
        self._records_text = records_text
        self._closing_seconds = closing_seconds
        self._recorder = Recorder()
        self._closed = False
        self._pipeline: Pipeline | None = None
        self._setting_up: asyncio.Task[Pipeline | None] | None = None
        self._failures = 0

    def activity(self, kind: str, traceparent: str | None = None) -> TurnSpan:
        """`kind`: the activity's type; `traceparent`: of the call that brought it, https://www.w3.org/TR/trace-context/."""
        return TurnSpan(kind, self._recorder, traceparent, records_text=self._records_text)

    async def retention(self, deleting: Awaitable[int]) -> int:
        """Awaits `deleting`, which deletes old conversations, and records the number of rows. Raises what it raises."""
        try:
            with Span("retention", SpanKind.SERVER, {}, self._recorder) as span:
                rows = span.attributes["agent.rows"] = await deleting
                return rows
        finally:
            self.answered()

    async def job_watch_pass(self, passing: Awaitable[_Result]) -> _Result:
        """Awaits `passing`, which looks at the jobs once, and counts it if it ends well. Raises what it raises."""
        try:
            with Span("job_watch pass", SpanKind.SERVER, {}, self._recorder):
                result = await passing
            self._recorder.measured(Measurement(JOB_WATCH_PASSES, 1, {}))
            return result
        finally:
            self.answered()

    def answered(self) -> None:
        """An answer has been sent: now the exporter, slow to import, is set up."""
        if self._setting_up is None and not self._closed and self._failures < _MAX_SETUP_ATTEMPTS:
            self._setting_up = asyncio.create_task(self._set_up())

    async def _set_up(self) -> Pipeline | None:
        try:
            pipeline = await asyncio.to_thread(_pipeline, self._destination)
        except Exception:
            self._failures += 1
            self._setting_up = None
            _log.exception("Telemetry could not be set up; the bot works without it")
            return None
        self._failures = 0
        self._recorder.attach(pipeline)
        self._pipeline = pipeline
        return pipeline

    async def check(self) -> bool:
        """Whether what was recorded arrives; False before there was anything to send. Raises `TelemetryError`."""
        if self._failures:
            raise TelemetryError("it could not be set up")
        if self._pipeline is not None and self._pipeline.refused:
            raise TelemetryError("what was sent last did not arrive")
        return self._pipeline is not None

    async def close(self) -> None:
        """Sends what was recorded, within the time limit. Nothing is recorded after it."""
        setting_up, self._closed = self._setting_up, True
        if setting_up is None:
            return
        self._setting_up = None
        # An import cannot be cancelled; its thread is left behind.
        await asyncio.wait([setting_up], timeout=self._closing_seconds)
        if not setting_up.done():
            setting_up.cancel()
            await asyncio.wait([setting_up])
        elif (pipeline := setting_up.result()) is not None:
            await asyncio.to_thread(pipeline.close, self._closing_seconds)


def _pipeline(destination: Destination) -> Pipeline:
    from app.telemetry.pipeline import Pipeline  # noqa: PLC0415

    return Pipeline(destination)
