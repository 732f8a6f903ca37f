"""A conversation for one question of one call, in which tools may keep results until it is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

from app.common.cancellation import Cancellation
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError

_log = logging.getLogger(__name__)

TENANT = "foundry"
_FORGET_SECONDS = 4.0

Forget = Callable[[ConversationKey], Awaitable[None]]
"""Deletes what is kept of a conversation. Raises `StorageError`."""


@dataclass(slots=True)
class CallConversation:
    """`is_used`: a tool was called in it, which may have kept something."""

    key: ConversationKey
    is_used: bool = False


@asynccontextmanager
async def call_conversation(
    tool: str, call_id: str, question: str, cancellation: Cancellation, forget: Forget
) -> AsyncIterator[CallConversation]:
    """The same one when another worker makes the call again. What was kept in it is deleted at the end, unless the call
    goes on at another worker.
    """
    named = "\0".join([tool, call_id, question])
    id = sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    conversation = CallConversation(ConversationKey(TENANT, id))
    try:
        yield conversation
    finally:
        if conversation.is_used and not cancellation.goes_on_elsewhere:
            await _forgotten(conversation.key, forget)


async def _forgotten(conversation: ConversationKey, forget: Forget) -> None:
    try:
        async with asyncio.timeout(_FORGET_SECONDS):
            await forget(conversation)
    except (StorageError, TimeoutError) as error:
        # CONVERSATION_RETENTION_DAYS deletes it then.
        _log.warning("What a call of a tool had kept was not deleted (%s)", type(error).__name__)
