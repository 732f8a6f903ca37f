"""Removal of an answer: its message in the chat, from the queue, and what is remembered of it."""

from __future__ import annotations

from typing import Final, Literal

from app.agent.turn import Turn
from app.messaging.conversation_references import ConversationReferences
from app.storage.conversations import ConversationHistory, ConversationKey
from app.storage.documents import DocumentStore
from app.storage.queue import Queue
from app.translation import Sentence
from app.turns.idempotency import IdempotentAction, IdempotentActions, Json
from app.turns.queue_message import Envelope

DELETION_KIND: Final = "delete_message"
REMOVED: Final = Sentence("Done: I have deleted my last answer, and do not remember it.")
NOTHING_TO_REMOVE: Final = Sentence("There is no answer of mine here that I could delete.")
CANNOT_DELETE: Final = Sentence("I cannot delete messages here. **/forget** deletes what I remember.")

_MAX_MESSAGES = 50
_ACTIVITY_ID = "activity_id"


class MessageDeletion(Envelope):
    """As it is on the queue. `activity_id` is the channel's id of the message."""

    kind: Literal["delete_message"] = DELETION_KIND
    tenant: str
    conversation: str
    thread: str = ""
    activity_id: str

    @property
    def key(self) -> ConversationKey:
        return ConversationKey(self.tenant, self.conversation, self.thread)


class AnswerRemoval:
    def __init__(
        self, history: ConversationHistory, queue: Queue, references: ConversationReferences, documents: DocumentStore
    ) -> None:
        self._history = history
        self._queue = queue
        self._references = references
        self._actions = IdempotentActions(documents)

    async def remove_last(self, turn: Turn) -> Sentence:
        """The last answer when the turn was first attempted, in every attempt. Raises `StorageError`."""
        key = turn.conversation
        await self._references.flush()
        if not await self._references.can_write_to(key):
            return CANNOT_DELETE

        async def choose() -> Json:
            said = await self._history.recent(key, _MAX_MESSAGES)
            answers = [message.activity_id for message in said if message.role == "assistant" and message.activity_id]
            return {_ACTIVITY_ID: answers[-1] if answers else ""}

        chosen = await self._actions.once(IdempotentAction(key.tenant, f"remove/{turn.idempotency_key}"), choose)
        activity_id = chosen[_ACTIVITY_ID]
        if not activity_id:
            return NOTHING_TO_REMOVE
        deletion = MessageDeletion(
            v=1, tenant=key.tenant, conversation=key.conversation, thread=key.thread, activity_id=activity_id
        )
        await self._queue.put(deletion.to_json(), visibility_timeout=0)
        await self._history.remove_exchange(key, activity_id)
        return REMOVED
