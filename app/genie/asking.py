"""Asks Genie a question once for each tool call, over crashes and answers that never came."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.common.json_values import text
from app.databricks.genie_api import GenieApi
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspaceNotFoundError,
    WorkspaceRateLimitError,
    WorkspaceUnavailableError,
)
from app.genie.genie_conversations import AskedMessage, GenieConversation, GenieConversations, PendingQuestion
from app.genie.genie_message import GenieMessage, parse_message
from app.genie.known_questions import known_id
from app.genie.looking import pauses_seconds
from app.genie.question_quota import QuestionQuota
from app.storage.storage_errors import StorageError
from app.tools.base import ToolContext
from app.translation import Sentence

_log = logging.getLogger(__name__)

# Genie's clock and ours differ by less.
_MAX_CLOCK_DIFFERENCE_SECONDS = 120.0
_MAX_CONVERSATIONS = 10
_MAX_PAGES = 20
# One that was stopped goes on in Genie for a while.
_ENDS_WITHIN_SECONDS = 120.0
# Where Genie does not say.
_REFUSED_FOR_SECONDS = 60.0

_STILL_BUSY = Sentence("Genie is still working on the question before; yours is next…")

PostQuestion = Callable[[str, str], Awaitable[GenieMessage]]
"""Asks Genie in the conversation of that id, or in a new one where it is empty or gone."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One call of the tool of `space`. Calls for one chat and identity come one after another. `post` asks in `mode`;
    by default it is the Conversation API that is asked.
    """

    api: GenieApi
    conversations: GenieConversations
    quota: QuestionQuota
    space: str
    context: ToolContext
    clock: Callable[[], float] = time.time
    mode: str = ""
    post: PostQuestion | None = None
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    async def ask_once(self, question: str) -> GenieMessage:
        """The message of this call: a new one, or that of an earlier attempt. Raises `WorkspaceError`,
        `QuotaExceededError`, and `ValueError` for an answer that is no message.
        """
        call, kept = self.context.idempotency_key, await self._kept()
        if (message_id := kept.message_of(call)) is not None:
            return GenieMessage(kept.conversation_id, message_id, "SUBMITTED")
        pending = PendingQuestion(call=call, question=question, asked_at_seconds=self.clock())
        if (earlier := kept.pending) is not None:
            if (found := await self._find_earlier(kept, earlier)) is not None:
                kept = await self._remembered(kept, earlier, found)
                if earlier.call == call:
                    return found
            elif earlier.call == call:
                pending = earlier
        if kept.pending != pending:
            kept = kept.asking(pending)
            await self._save(kept)
        await self._wait_for_last(kept)
        try:
            message = await self._in_turn(kept, question)
        except (WorkspaceInterruptedError, WorkspaceUnavailableError):
            # Whether the question arrived is not known. Where it cannot be found, nothing is asked again.
            if (found := await self._find(kept, pending)) is None:
                raise
            message = found
        await self._remembered(kept, pending, message)
        return message

    async def has_asked(self) -> bool:
        """Whether an earlier attempt of this call may have asked."""
        call, kept = self.context.idempotency_key, await self._kept()
        return kept.message_of(call) is not None or (kept.pending is not None and kept.pending.call == call)

    async def is_first(self, message: GenieMessage) -> bool:
        """Whether it began its conversation: then it means the same in any other."""
        messages = (await self._kept()).messages
        return bool(messages) and messages[0].message_id == message.message_id

    async def _wait_for_last(self, kept: GenieConversation) -> None:
        """Genie refuses a question in a conversation whose last one has not ended."""
        waited, pauses = 0.0, pauses_seconds()
        while kept.messages and waited < _ENDS_WITHIN_SECONDS:
            ids = (kept.conversation_id, kept.messages[-1].message_id)
            try:
                told = await self.api.get_message(self.space, *ids, self.context.identity)
                if parse_message({**told, "conversation_id": ids[0]}).ended:
                    return
            except (WorkspaceError, ValueError):
                return
            if not waited:
                self.context.progress(self.context.translate(_STILL_BUSY))
            pause = next(pauses)
            await self.sleep(pause)
            waited += pause

    async def _in_turn(self, kept: GenieConversation, question: str) -> GenieMessage:
        while True:
            await self.quota.wait(self.space, self.context)
            try:
                return await (self.post or self._post)(kept.conversation_id, question)
            except WorkspaceRateLimitError as error:
                seconds = error.retry_after_seconds or _REFUSED_FOR_SECONDS
                await self.quota.fill(self.space, seconds)
                if seconds > self.context.seconds_left():
                    raise

    async def _post(self, conversation: str, question: str) -> GenieMessage:
        identity, visualize = self.context.identity, self.context.shows_chart_images
        if conversation:
            try:
                told = await self.api.create_message(self.space, conversation, question, identity, visualize=visualize)
                return parse_message({"conversation_id": conversation, **told})
            except WorkspaceNotFoundError:
                _log.info("A conversation in Genie is gone; another is started")
        told = await self.api.start_conversation(self.space, question, identity, visualize=visualize)
        inner = told.get("message")
        return parse_message({**told, **inner} if isinstance(inner, Mapping) else told)

    async def _find_earlier(self, kept: GenieConversation, earlier: PendingQuestion) -> GenieMessage | None:
        """What became of a question whose answer never came: one of this call, or one that was stopped meanwhile."""
        try:
            return await self._find(kept, earlier)
        except (WorkspaceError, ValueError):
            if earlier.call == self.context.idempotency_key:
                raise
            return None

    async def _find(self, kept: GenieConversation, pending: PendingQuestion) -> GenieMessage | None:
        """The message that `pending` became, if Genie has it."""
        if kept.conversation_id:
            # Where it is gone, the question has begun another one.
            with suppress(WorkspaceNotFoundError):
                return await self._find_in(kept.conversation_id, kept, pending)
        try:
            told = await self.api.list_conversations(self.space, self.context.identity)
            for each in _mappings(told.get("conversations"))[:_MAX_CONVERSATIONS]:
                id = each.get("conversation_id") or each.get("id")
                if isinstance(id, str) and _is_since(each, pending):
                    found = await self._find_in(id, kept, pending)
                    if found is not None and await self._owns(kept, id):
                        return found
        except WorkspaceNotFoundError:
            pass
        return None

    async def _find_in(
        self, conversation: str, kept: GenieConversation, pending: PendingQuestion
    ) -> GenieMessage | None:
        known = {each.message_id for each in kept.messages}
        found: GenieMessage | None = None
        async for each in self._messages(conversation):
            if each.get("content") == pending.question and _is_since(each, pending):
                message = parse_message({**each, "conversation_id": conversation})
                if message.message_id not in known:
                    found = message
        return found

    async def _messages(self, conversation: str) -> AsyncIterator[Mapping[str, Any]]:
        token = ""
        for _ in range(_MAX_PAGES):
            told = await self.api.list_messages(self.space, conversation, self.context.identity, token)
            for each in _mappings(told.get("messages")):
                yield each
            if not (token := text(told.get("next_page_token"))):
                return

    async def _remembered(
        self, kept: GenieConversation, pending: PendingQuestion, message: GenieMessage
    ) -> GenieConversation:
        is_new = message.conversation_id != kept.conversation_id
        if is_new and not await self._owns(kept, message.conversation_id):
            return kept
        asked = AskedMessage(call=pending.call, message_id=message.message_id)
        known = known_id(self.space, self.context.identity, pending.question)
        kept = kept.asked(message.conversation_id, asked, known)
        await self._save(kept)
        return kept

    async def _owns(self, kept: GenieConversation, id: str) -> bool:
        if not kept.identity:
            return False
        try:
            return await self.conversations.own(self.context.conversation, kept, id)
        except StorageError as error:
            _log.warning("Whose a conversation in Genie is, is not known (%s)", type(error).__name__)
            return False

    async def _kept(self) -> GenieConversation:
        context = self.context
        try:
            return await self.conversations.find(context.conversation, self.space, context.identity, self.mode)
        except StorageError as error:
            _log.warning("Which conversation in Genie goes on is not known (%s)", type(error).__name__)
            return GenieConversation(space=self.space, identity="")

    async def _save(self, kept: GenieConversation) -> None:
        if not kept.identity:
            return
        try:
            await self.conversations.save(self.context.conversation, kept)
        except StorageError as error:
            _log.warning("A conversation in Genie is not remembered (%s)", type(error).__name__)


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _is_since(told: Mapping[str, Any], pending: PendingQuestion) -> bool:
    """Whether it can be of the attempt: not made before it."""
    created_ms = told.get("created_timestamp")
    if not isinstance(created_ms, int | float):
        return False
    return created_ms / 1000 >= pending.asked_at_seconds - _MAX_CLOCK_DIFFERENCE_SECONDS
