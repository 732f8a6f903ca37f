"""The calls of functions and what was answered, in rows that every worker reads."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.function_tools.function_messages import FunctionAnswer
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, delete_all
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

CALLS = Collection("function_calls", retention_days=1)
# An answer names its call, and not whose it is.
_TENANT = "function_tools"


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """`asked_at` is in seconds since 1970; `value` is None until the function has answered."""

    asked_at: float
    value: str | None = None


def correlation_id(conversation: ConversationKey, idempotency_key: str, tool: str, arguments: Mapping[str, Any]) -> str:
    """Equal calls have the same one on every worker, and no others. It does not reveal whose call it is."""
    call = json.dumps([idempotency_key, tool, arguments], sort_keys=True)
    return f"{_prefix(conversation)}{_digest(call, 32)}"


class FunctionCalls:
    """Every method raises `app.storage.storage_errors.StorageError`."""

    def __init__(self, documents: DocumentStore, *, clock: Callable[[], float] = time.time) -> None:
        self._documents = documents
        self._clock = clock

    async def begin(self, correlation_id: str) -> tuple[FunctionCall, bool]:
        """The call, and whether it is new: only the worker that has begun it sends the question."""
        call = FunctionCall(self._clock())
        try:
            await self._documents.put(Document(_key(correlation_id), _to_json(call)))
        except ConcurrentUpdateError:
            begun = await self.find(correlation_id)
            if begun is None:
                raise StorageError("the call was deleted while it was made") from None
            return begun, False
        return call, True

    async def find(self, correlation_id: str) -> FunctionCall | None:
        document = await self._documents.get(_key(correlation_id))
        return None if document is None else _from_json(document.value)

    async def keep(self, answer: FunctionAnswer) -> bool:
        """Whether there is such a call. Of several answers the first one stays."""
        while (document := await self._documents.get(_key(answer.correlation_id))) is not None:
            call = _from_json(document.value)
            if call.value is not None:
                return True
            kept = Document(document.key, _to_json(FunctionCall(call.asked_at, answer.value)), version=document.version)
            try:
                await self._documents.put(kept)
            except ConcurrentUpdateError:
                continue
            return True
        return False

    async def delete(self, correlation_id: str) -> None:
        await self._documents.delete(_key(correlation_id))

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        await delete_all(self._documents, CALLS, _TENANT, prefix=_prefix(conversation, threads=threads))


def _key(correlation_id: str) -> DocumentKey:
    return DocumentKey(CALLS, _TENANT, correlation_id)


def _prefix(conversation: ConversationKey, *, threads: bool = False) -> str:
    prefix = f"{_digest(f'{conversation.tenant}/{conversation.conversation}', 16)}-"
    return prefix if threads else f"{prefix}{_digest(conversation.thread, 8)}-"


def _digest(text: str, characters: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:characters]


def _to_json(call: FunctionCall) -> str:
    return json.dumps({"asked_at": call.asked_at, "value": call.value}, ensure_ascii=False)


def _from_json(text: str) -> FunctionCall:
    fields = json.loads(text)
    return FunctionCall(fields["asked_at"], fields["value"])
