"""The reply to a request: its value, which is kept and then sent."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from app.agent.events import End, Event, Failure
from app.common.text import replace_lone_surrogates
from app.foundry.requests.kept_values import KeptValues
from app.foundry.requests.output_message import SHORTENED, SHORTENED_WITH_LINK, fits, output_message, shortened
from app.foundry.requests.request_answerer import RefusalAnswer
from app.foundry.requests.request_metrics import request_ended, value_repeated
from app.foundry.requests.tool_request import KeptValue, ToolRequest
from app.resilience.retry import Backoff, retry
from app.storage.queue import Queue
from app.storage.storage_errors import StorageError
from app.turns.reply import SaveCheckpoint, UndeliveredError, discard_checkpoint

OUTPUT_LIFETIME_SECONDS: Final = 600.0
"""As long as a run in Foundry lives."""
EMPTY: Final = "The tool gave no answer. Ask in other words."
_BACKOFF: Final = Backoff(0.5, longest_seconds=4.0, jitter=0.5)
_STORING_SECONDS: Final = 45.0

LinkTo = Callable[[str], Awaitable[str | None]]
"""Keeps a text behind a link for an hour; None where it cannot. Never raises."""


class RequestReply:
    """Implements `app.turns.reply.Reply`. `output` is the tool's output queue; None where the value is only kept."""

    def __init__(
        self, request: ToolRequest, values: KeptValues, output: Queue | None, link_to: LinkTo | None = None
    ) -> None:
        self._request = request
        self._values = values
        self._output = output
        self._link_to = link_to
        self._writer = uuid.uuid4().hex
        self._end: End | None = None
        self._is_sent_again = False
        self.value: KeptValue | None = None
        self.shown = ""
        self.stopped = False
        self.activity_id: str | None = None

    def when_stopped(self, stop: Callable[[], object]) -> None:
        """A run that was cancelled in Foundry does not say so."""

    async def begin(self, save_checkpoint: SaveCheckpoint = discard_checkpoint, /) -> None:
        """What another worker needs is the value, which is kept before it is sent."""

    async def write(self, event: Event) -> None:
        if isinstance(event, End):
            self._end = event

    async def finish(self) -> None:
        value = self._answered()
        value = replace(value, text=await self._fitting(value.text))
        try:
            self.value = await retry(
                lambda: self._keep(value), _BACKOFF.after(StorageError), limit_seconds=_STORING_SECONDS
            )
            await retry(self._send, _BACKOFF.after(StorageError), limit_seconds=_STORING_SECONDS)
        except StorageError as failure:
            raise UndeliveredError("storage takes no value") from failure

    async def abandon(self) -> None:
        """Nothing is under way."""

    async def _keep(self, value: KeptValue) -> KeptValue:
        request = self._request
        stored = await self._values.keep(request.tool, request.correlation_id, value, writer=self._writer)
        if stored.was_kept and request.value_is_sent:
            value_repeated(request.tool)
        return stored.value

    async def _send(self) -> None:
        if self._output is None or self.value is None:
            return
        if self._is_sent_again:
            # Storage may have taken the first one, though it did not say so.
            value_repeated(self._request.tool)
        self._is_sent_again = True
        body = output_message(self.value.text, self._request.correlation_id)
        receipt = await self._output.put(body, visibility_timeout=0, time_to_live_seconds=OUTPUT_LIFETIME_SECONDS)
        if receipt.repeats:
            value_repeated(self._request.tool, receipt.repeats)

    def _answered(self) -> KeptValue:
        if isinstance(self._end, Failure):
            request_ended(self._request.tool, "failed")
            error_id = self._end.error_id
            said = f" (error id {error_id})" if error_id else ""
            return KeptValue(f"{self._end.sentence}{said}", failed=True)
        text = self._end.text if self._end is not None else ""
        # An agent may wait on where it gets nothing: https://github.com/microsoft-foundry/foundry-samples/issues/200
        if not text.strip():
            return KeptValue(EMPTY, failed=True)
        return KeptValue(text, failed=isinstance(self._end, RefusalAnswer))

    async def _fitting(self, text: str) -> str:
        id = self._request.correlation_id
        if fits(text, id):
            return text
        link = await self._link_to(replace_lone_surrogates(text)) if self._link_to is not None else None
        return shortened(text, id, SHORTENED if link is None else SHORTENED_WITH_LINK.format(link=link))
