"""Does an action once, however often it is requested: by a channel's repeats, or by several people on several cards.

An action is known by its id (its idempotency key), which is the same for every request: the id of a proposal, or of a
message and a person.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from app.resilience.retry import Backoff, retry
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

_log = logging.getLogger(__name__)

# A card can be pressed as long as it stands in a chat: afterwards its action would be done again.
ACTIONS: Final = Collection("actions", retention_days=400)

# Teams wants an invoke answered within 5 seconds.
_WAIT_SECONDS = 4.0
_POLL_SECONDS = 0.2
_LEASE_SECONDS = 30.0
# Below the lease, so that no other worker performs the action at the same time.
_PERFORM_SECONDS = 20.0
_CANCEL_SECONDS = 2.0
_SAVE_AGAIN = Backoff(0.2, longest_seconds=1.0, attempts=4)

Json = dict[str, Any]
Perform = Callable[[], Awaitable[Json]]


class ActionInProgressError(Exception):
    """The action has been started and has not ended: its result comes later."""


@dataclass(frozen=True, slots=True)
class IdempotentAction:
    """`id` is the idempotency key, unique within `tenant`; `choice` is what was chosen, for example a verb.

    The first choice stands, unless the action `may_change`: then another choice is performed too, and stands.
    """

    tenant: str
    id: str
    choice: str = ""
    may_change: bool = False


class _Claim(BaseModel):
    """As it is stored. Its owner alone performs the action until the lease ends; `result` is there once it is done."""

    choice: str
    owner: str
    lease_until: float
    result: Json | None = None


class IdempotentActions:
    """`clock` is in seconds since 1970. An action that was started goes on when its caller gives up."""

    def __init__(self, documents: DocumentStore, *, clock: Callable[[], float] = time.time) -> None:
        self._documents = documents
        self._clock = clock
        self._running: set[asyncio.Task[Json | None]] = set()
        self._closed = False

    async def is_first(self, action: IdempotentAction) -> bool:
        """True for one caller: the first. Raises `app.storage.storage_errors.StorageError`."""
        done = _Claim(choice=action.choice, owner=uuid.uuid4().hex, lease_until=0.0, result={})
        try:
            await self._documents.put(Document(_key(action), done.model_dump_json()))
        except ConcurrentUpdateError:
            return False
        return True

    async def once(self, action: IdempotentAction, perform: Perform) -> Json:
        """Returns what `perform` returned, now or the first time.

        If `perform` fails or takes longer than 20 s, the next request tries again. If the worker vanishes, or storage
        does not take the result, the next request performs the action again: its effects must bear that.
        Raises `ActionInProgressError` after 4 s, `app.storage.storage_errors.StorageError`, and what `perform` raises.
        """
        deadline = self._clock() + _WAIT_SECONDS
        while True:
            document = await self._documents.get(_key(action)) or Document(_key(action), "")
            claim = _parse(document)
            if claim is not None and self._stands(claim, action):
                if claim.result is not None:
                    return claim.result
                if self._clock() >= deadline:
                    raise ActionInProgressError
                await asyncio.sleep(_POLL_SECONDS)
                continue
            if self._closed:
                raise ActionInProgressError
            seconds_left = max(0.0, deadline - self._clock())
            result = await self._run(self._claim_and_perform(document, action.choice, perform), seconds_left)
            if result is not None:
                return result

    async def result_of(self, action: IdempotentAction) -> Json | None:
        """What the action returned; None where it has not been done. Raises `StorageError`."""
        document = await self._documents.get(_key(action))
        claim = _parse(document) if document is not None else None
        return claim.result if claim is not None else None

    async def close(self, *, grace_seconds: float = 1.0) -> None:
        """Starts no more actions. Running ones get `grace` seconds to end, and can be requested again afterwards."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_CANCEL_SECONDS)

    def _stands(self, claim: _Claim, action: IdempotentAction) -> bool:
        if claim.result is None:
            return claim.lease_until > self._clock()
        return claim.choice == action.choice or not action.may_change

    async def _run(self, performing: Coroutine[Any, Any, Json | None], seconds: float) -> Json | None:
        task = asyncio.create_task(performing)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
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

    async def _claim_and_perform(self, document: Document, choice: str, perform: Perform) -> Json | None:
        """None if another worker claimed the action first."""
        claim = _Claim(choice=choice, owner=uuid.uuid4().hex, lease_until=self._clock() + _LEASE_SECONDS)
        try:
            document = await self._documents.put(replace(document, value=claim.model_dump_json()))
        except ConcurrentUpdateError:
            return None
        except StorageError:
            await self._release_if_stored(document.key, claim)
            raise
        return await self._perform(document, claim, perform)

    async def _release_if_stored(self, key: DocumentKey, claim: _Claim) -> None:
        """The claim may be stored though the answer was lost: it would block the action until its lease ends."""

        async def release() -> None:
            found = await self._documents.get(key)
            stored = _parse(found) if found is not None else None
            if found is not None and stored is not None and stored.owner == claim.owner:
                released = claim.model_copy(update={"lease_until": 0.0})
                await self._documents.put(replace(found, value=released.model_dump_json()))

        await asyncio.sleep(_SAVE_AGAIN.first_seconds)
        with suppress(StorageError, ConcurrentUpdateError):
            await retry(release, _SAVE_AGAIN.after(StorageError))

    async def _perform(self, document: Document, claim: _Claim, perform: Perform) -> Json:
        try:
            async with asyncio.timeout(_PERFORM_SECONDS):
                result = await perform()
        except BaseException:
            with suppress(StorageError):
                await self._save(document, claim.model_copy(update={"lease_until": 0.0}))
            raise
        done = claim.model_copy(update={"result": result})
        try:
            await retry(lambda: self._save(document, done), _SAVE_AGAIN.after(StorageError))
        except StorageError as failure:
            # The action is done, and the caller is told so.
            _log.error("The result of an action could not be stored (%s): a repeat performs it again", failure)
        return result

    async def _save(self, document: Document, claim: _Claim) -> None:
        # Where the lease had ended and another worker has claimed the action since, that worker's claim stands.
        with suppress(ConcurrentUpdateError):
            await self._documents.put(replace(document, value=claim.model_dump_json()))


def _key(action: IdempotentAction) -> DocumentKey:
    return DocumentKey(ACTIONS, action.tenant, action.id)


def _parse(document: Document) -> _Claim | None:
    try:
        return _Claim.model_validate_json(document.value) if document.value else None
    except ValidationError:
        return None


def _log_failure(task: asyncio.Task[Json | None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("An action failed after its caller had given up", exc_info=error)


def digest(value: object) -> str:
    """A hash of any JSON."""
    return uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(value, sort_keys=True, default=str)).hex
