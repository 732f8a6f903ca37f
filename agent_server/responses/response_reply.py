"""The reply of a stored response: its events, written to the log in batches."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from agent_server.protocol.response_assembler import ResponseAssembler
from agent_server.responses.event_log import BatchTakenError, EventLog, LogKey, ResponseEvents, is_terminal
from app.agent.events import Answer, End, Event, Failure, ResponsesEvent, Suspended, TextAdded
from app.resilience.retry import Backoff, retry
from app.storage.storage_errors import StorageError
from app.turns.checkpoint import Checkpoint
from app.turns.reply import CheckpointError, LeaseLostError, SaveCheckpoint, UndeliveredError, discard_checkpoint

_HANDLER_ENDS = ("response.completed", "response.incomplete", "response.failed")
BATCH_INTERVAL_SECONDS: Final = 0.15
_PAUSES_PER_WRITE = 4
_MAX_INTERVAL_SECONDS = 3.0
_LONG_TEXT_CHARACTERS = 20_000
_LONG_TEXT_INTERVAL_SECONDS = 1.0
_LOOK_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_APPEND_BACKOFF = Backoff(0.2, longest_seconds=2.0)
_APPEND_SECONDS = 20.0


class ResponseReply:
    """Continues from `checkpoint`, which another worker may have left. Each batch is in the checkpoint before it is in
    the log: what a follower has read is never said otherwise. `ended` is called once the log is complete.
    """

    def __init__(
        self, log: EventLog, key: LogKey, checkpoint: Checkpoint, ended: Callable[[], Awaitable[None]]
    ) -> None:
        self._log = log
        self._key = key
        self._checkpoint = checkpoint
        self._ended = ended
        self._writer = uuid.uuid4().hex
        self._assembler: ResponseAssembler | None = None
        self._batch = 0
        self._pending: list[dict[str, Any]] = []
        self._text = checkpoint.text
        self._end: End | None = None
        self._last: Mapping[str, Any] = {"type": "response.completed"}
        self._save_checkpoint: SaveCheckpoint = discard_checkpoint
        self._flushing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._stop: Callable[[], object] | None = None
        self._stopped = False
        self.shown = checkpoint.text
        self.activity_id: str | None = key.response_id

    @property
    def stopped(self) -> bool:
        return self._stopped

    def when_stopped(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    async def begin(self, save_checkpoint: SaveCheckpoint = discard_checkpoint, /) -> None:
        self._save_checkpoint = save_checkpoint
        if self._flushing is not None:
            return
        try:
            await retry(self._open, _APPEND_BACKOFF.after(StorageError), limit_seconds=_APPEND_SECONDS)
        except StorageError as failure:
            raise UndeliveredError("the log cannot be read") from failure
        self._flushing = asyncio.create_task(self._flush_all())

    async def _open(self) -> None:
        """Writes what the last worker was writing, then a batch of its own: from then on nobody else can append."""
        while True:
            batches = await self._log.read_all(self._key)
            state = self._checkpoint.reply_state
            if state.get("batch") == len(batches) and not _ends(batches):
                batches = await self._append_or_read(batches, state["events"], state["writer"])
                continue
            self._assembler = ResponseAssembler.resumed([event for batch in batches for event in batch])
            self._batch = len(batches)
            if self._assembler.has_ended or self._batch <= 1:
                break
            if len(await self._append_or_read(batches, self._assembler.interrupt(), self._writer)) == self._batch + 1:
                self._batch += 1
                break
        if _ends(batches) and _is_ended_by_others(batches[-1]):
            self._halt()

    async def _append_or_read(
        self, batches: list[ResponseEvents], events: ResponseEvents, writer: str
    ) -> list[ResponseEvents]:
        """Without the events where another has written something else: then all is to be read again."""
        try:
            await self._log.append(self._key, len(batches), events, writer=writer)
        except BatchTakenError:
            return batches
        return [*batches, events]

    async def write(self, event: Event) -> None:
        assert self._assembler is not None
        if isinstance(event, TextAdded):
            self._text += event.text
            return
        if self._assembler.has_ended:
            if isinstance(event, End):
                self._end = event
                self._wake.set()
            return
        if isinstance(event, ResponsesEvent | End):
            self._pending += self._assembler.start()
        match event:
            case ResponsesEvent(value):
                if value.get("type") in _HANDLER_ENDS:
                    # Shown with the end of the turn, which is saved at the same time.
                    self._last = value
                else:
                    self._pending += self._assembler.add(value)
            case Answer() | Suspended():
                self._pending += [*self._assembler.add(self._last), *self._assembler.finish()]
            case Failure(sentence, error_id):
                self._pending += self._assembler.fail(_with_error_id(sentence, error_id))
            case _:
                return
        self._end = event if isinstance(event, End) else None
        if self._pending:
            self._wake.set()

    async def finish(self) -> None:
        if self._flushing is not None:
            self._wake.set()
            await self._flushing

    async def abandon(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])
            # What it failed with has been raised by `finish`, or nobody waits for it.
            _ = self._flushing.cancelled() or self._flushing.exception()

    async def look(self) -> None:
        """Learns that the response was cancelled, or ended by whoever found it lost: then the work on it ends."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                taken = await self._log.read(self._key, self._batch)
        except (StorageError, TimeoutError):
            return
        if taken is not None and _is_ended_by_others(taken):
            self._halt()

    def _halt(self) -> None:
        if not self._stopped:
            self._stopped = True
            if self._stop is not None:
                self._stop()

    async def _flush_all(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            if not await self._wait_for_events():
                await self.look()
                continue
            ending, began = self._end is not None, clock()
            try:
                await self._flush()
            except CheckpointError:
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()
                continue
            except BatchTakenError:
                await self._yield_to_other()
                return
            if self._stopped:
                return
            if ending:
                await self._ended()
                return
            # A store that takes long is written to less often.
            took_seconds = clock() - began
            long = len(self._text) > _LONG_TEXT_CHARACTERS
            pause_seconds = _LONG_TEXT_INTERVAL_SECONDS if long else BATCH_INTERVAL_SECONDS
            await asyncio.sleep(max(pause_seconds, min(_PAUSES_PER_WRITE * took_seconds, _MAX_INTERVAL_SECONDS)))

    async def _wait_for_events(self) -> bool:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _flush(self) -> None:
        """Raises `CheckpointError`, `LeaseLostError`, `BatchTakenError` and `UndeliveredError`."""
        events, text, end = self._pending, self._text, self._end
        self._pending = []
        saved_end = end if isinstance(end, Answer | Failure) else None
        state = {"batch": self._batch, "events": events, "writer": self._writer}
        if events or saved_end is not None:
            try:
                await self._save_checkpoint(Checkpoint(text, state if events else {}, saved_end))
            except CheckpointError:
                self._pending = events + self._pending
                raise
        if events:
            await self._append(events)
            self._batch += 1
        self.shown = text

    async def _append(self, events: ResponseEvents) -> None:
        async def append() -> None:
            await self._log.append(self._key, self._batch, events, writer=self._writer)

        try:
            await retry(append, _APPEND_BACKOFF.after(StorageError), limit_seconds=_APPEND_SECONDS)
        except StorageError as failure:
            raise UndeliveredError("the log takes nothing") from failure

    async def _yield_to_other(self) -> None:
        """Raises `LeaseLostError` unless the response was cancelled."""
        if not _is_ended_by_others(await self._log.read(self._key, self._batch) or []):
            raise LeaseLostError
        self._halt()


def _with_error_id(sentence: str, error_id: str) -> str:
    return sentence if error_id in sentence else f"{sentence} (error id {error_id})"


def _is_ended_by_others(batch: ResponseEvents) -> bool:
    return is_terminal(batch) and batch[-1]["response"]["status"] in ("cancelled", "failed")


def _ends(batches: list[ResponseEvents]) -> bool:
    return any(is_terminal(batch) for batch in batches)
