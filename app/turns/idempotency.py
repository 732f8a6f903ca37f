"""What a person decides with a button is done once, however often and under whatever id the channel says it again."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from app.storage.conversations import ConversationKey
from app.storage.keyed_records import Record, RecordKey, Records
from app.storage.ledger import ConcurrentUpdateError
from app.storage.storage_errors import StorageError

_log = logging.getLogger(__name__)

# All in seconds. Teams wants an invoke answered within 5.
_LONGEST_WAIT = 4.0
_BETWEEN_LOOKS = 0.2
_LEASE = 30.0
_LONGEST_ACT = 20.0
_LONGEST_ENDING = 2.0
_BETWEEN_KEEPINGS = (0.2, 0.5, 1.0)

Json = dict[str, Any]
Act = Callable[[], Awaitable[Json]]


class ActionInProgressError(Exception):
    """Another worker is at it and has not ended yet; the answer is there later."""


@dataclass(frozen=True, slots=True)
class IdempotentAction:
    """`subject` is what is decided on, and by whom where each decides for themselves; `choice` is what they chose.

    Where it `may_change`, another choice is a decision of its own; else the first one stands.
    """

    conversation: ConversationKey
    subject: str
    choice: str
    may_change: bool = False


class _Kept(BaseModel):
    choice: str
    by: str
    until: float
    result: Json | None = None


class IdempotentActions:
    """What is being done goes on when its caller gives up. `clock` is in seconds since 1970."""

    def __init__(self, records: Records, *, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock
        self._acting: set[asyncio.Task[Json | None]] = set()
        self._closed = False

    async def once(self, decision: IdempotentAction, act: Act) -> Json:
        """What `act` has returned, now or the first time.

        An `act` that fails, or takes longer than 20 s, may be tried again. One whose worker vanished, or whose result
        storage did not take, is done again by the next who is told: what it does elsewhere has to bear that.
        Raises `ActionInProgressError` after 4 s, `app.storage.storage_errors.StorageError`, and what `act` raises.
        """
        # It lasts: what was decided stays so, whatever the conversation forgets.
        key = RecordKey(decision.conversation, f"decision/{decision.subject}", lasting=True)
        deadline = self._clock() + _LONGEST_WAIT
        while True:
            record = await self._records.read(key) or Record(key, "")
            kept = _kept(record)
            if kept is not None and self._stands(kept, decision):
                if kept.result is not None:
                    return kept.result
                if self._clock() >= deadline:
                    raise ActionInProgressError
                await asyncio.sleep(_BETWEEN_LOOKS)
                continue
            if self._closed:
                raise ActionInProgressError
            left = max(0.0, deadline - self._clock())
            result = await self._within(left, self._claim_and_act(record, decision.choice, act))
            if result is not None:
                return result

    async def close(self, *, grace: float = 1.0) -> None:
        """What is being done gets `grace` seconds to end; the rest may be tried again. Nothing is begun any more."""
        self._closed = True
        if self._acting:
            await asyncio.wait(self._acting, timeout=grace)
        for task in self._acting:
            task.cancel()
        if self._acting:
            await asyncio.wait(self._acting, timeout=_LONGEST_ENDING)

    async def _within(self, seconds: float, acting: Coroutine[Any, Any, Json | None]) -> Json | None:
        task = asyncio.create_task(acting)
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)
        try:
            done, _ = await asyncio.wait([task], timeout=seconds)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise
        if not done:
            task.add_done_callback(_log_failure)
        if not done or task.cancelled():
            raise ActionInProgressError
        return task.result()

    async def _claim_and_act(self, record: Record, choice: str, act: Act) -> Json | None:
        """None where another was faster."""
        mine = _Kept(choice=choice, by=uuid.uuid4().hex, until=self._clock() + _LEASE)
        try:
            record = await self._records.write(replace(record, value=mine.model_dump_json()))
        except ConcurrentUpdateError:
            return None
        except StorageError:
            await self._release(record.key, mine)
            raise
        return await self._act(record, mine, act)

    async def _release(self, key: RecordKey, mine: _Kept) -> None:
        """A claim whose answer was lost may be there, and nobody would act on it."""
        for pause in _BETWEEN_KEEPINGS:
            await asyncio.sleep(pause)
            with suppress(StorageError, ConcurrentUpdateError):
                found = await self._records.read(key)
                if found is None or (kept := _kept(found)) is None or kept.by != mine.by:
                    return
                await self._records.write(
                    replace(found, value=mine.model_copy(update={"until": 0.0}).model_dump_json())
                )
                return

    def _stands(self, kept: _Kept, decision: IdempotentAction) -> bool:
        if kept.result is None and kept.until <= self._clock():
            return False
        return kept.choice == decision.choice or not decision.may_change or kept.result is None

    async def _act(self, record: Record, mine: _Kept, act: Act) -> Json:
        try:
            # Before the lease ends: nobody else may do it meanwhile.
            async with asyncio.timeout(_LONGEST_ACT):
                result = await act()
        except BaseException:
            with suppress(StorageError):
                await self._write(record, mine.model_copy(update={"until": 0.0}))
            raise
        await self._keep(record, mine.model_copy(update={"result": result}))
        return result

    async def _keep(self, record: Record, kept: _Kept) -> None:
        for pause in (*_BETWEEN_KEEPINGS, None):
            try:
                await self._write(record, kept)
                return
            except StorageError as failure:
                if pause is None:
                    # It is done, and whoever asked is told so.
                    _log.error("What was decided could not be kept (%s): told again, it is done again", failure)
                    return
            await asyncio.sleep(pause)

    async def _write(self, record: Record, kept: _Kept) -> None:
        try:
            await self._records.write(replace(record, value=kept.model_dump_json()))
        except ConcurrentUpdateError:
            # It took longer than a lease, and another has done it meanwhile.
            return


def _kept(record: Record) -> _Kept | None:
    try:
        return _Kept.model_validate_json(record.value) if record.value else None
    except ValidationError:
        return None


def _log_failure(task: asyncio.Task[Json | None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("What was being decided failed, and its caller had given up", exc_info=error)


def digest(value: object) -> str:
    """The same for the same JSON."""
    return uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(value, sort_keys=True, default=str)).hex
