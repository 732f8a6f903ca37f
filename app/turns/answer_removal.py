"""Removal of an answer: its message in the chat, from the queue, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from app.agent.turn import Turn
from app.content.block_json import BlocksUnreadableError, blocks_from_json
from app.messaging.conversation_references import ConversationReferences
from app.messaging.result_files import FILE_RESULT, FILE_VERB
from app.storage.conversations import ConversationHistory, ConversationKey, StoredMessage
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
_RESULTS = "results"


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
    """`remove_results` deletes the stored results of these ids."""

    def __init__(
        self,
        history: ConversationHistory,
        queue: Queue,
        references: ConversationReferences,
        documents: DocumentStore,
        remove_results: Callable[[ConversationKey, Sequence[str]], Awaitable[None]] | None = None,
    ) -> None:
        self._history = history
        self._queue = queue
        self._references = references
        self._actions = IdempotentActions(documents)
        self._remove_results = remove_results

    async def remove_last(self, turn: Turn) -> Sentence:
        """The last answer when the turn was first attempted, in every attempt. Raises `StorageError`."""
        key = turn.conversation
        await self._references.flush()
        if not await self._references.can_write_to(key):
            return CANNOT_DELETE

        async def choose() -> Json:
            said = await self._history.recent(key, _MAX_MESSAGES)
            answers = [message for message in said if message.role == "assistant" and message.activity_id]
            if not answers:
                return {}
            # What was drawn again stands in an earlier answer too.
            shown_before = {result for message in answers[:-1] for result in _results_of(message)}
            results = [result for result in _results_of(answers[-1]) if result not in shown_before]
            return {_ACTIVITY_ID: answers[-1].activity_id, _RESULTS: results}

        chosen = await self._actions.once(IdempotentAction(key.tenant, f"remove/{turn.idempotency_key}"), choose)
        activity_id = chosen.get(_ACTIVITY_ID)
        if not activity_id:
            return NOTHING_TO_REMOVE
        deletion = MessageDeletion(
            v=1, tenant=key.tenant, conversation=key.conversation, thread=key.thread, activity_id=activity_id
        )
        await self._queue.put(deletion.to_json(), visibility_timeout=0)
        if self._remove_results is not None and (results := chosen.get(_RESULTS)):
            await self._remove_results(key, results)
        await self._history.remove_exchange(key, activity_id)
        return REMOVED


def _results_of(answer: StoredMessage) -> list[str]:
    """The ids of the results that it shows: each has a button for its file."""
    try:
        blocks = blocks_from_json(answer.blocks)
    except BlocksUnreadableError:
        return []
    buttons = [button for block in blocks if block.kind == "actions" for button in block.actions]
    return [button.data.get(FILE_RESULT, "") for button in buttons if button.verb == FILE_VERB]
