"""Delivers those parts of an answer's end that are messages of their own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from app.agent.events import Answer, End, Failure, Suspended
from app.bot.connector.send_errors import (
    DeliveryUnknownError,
    MessageTooLargeError,
    NotDeliveredError,
    SendRefusedError,
    ThrottledError,
)
from app.bot.rendering import activities
from app.bot.rendering.rendered_end import RenderedEnd
from app.bot.rendering.split import split
from app.bot.replies.activity_sender import ActivitySender
from app.translation import Sentence
from app.turns.checkpoint import Checkpoint
from app.turns.reply import SaveCheckpoint

SENT_AGAIN = Sentence("*(Sent again, because the channel did not say whether it had arrived.)*")
_MAX_TRIES = 3
_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class UnsentParts:
    """The parts that have not certainly been posted, and whether the first of them may have been. `with_card`: the
    last of them carries the card, if the end has one.
    """

    parts: tuple[str, ...] = ()
    perhaps_posted: bool = False
    with_card: bool = True

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> UnsentParts:
        """None where another reply than this one wrote the checkpoint."""
        state = checkpoint.reply_state
        parts = state.get("rest")
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            return cls()
        return cls(tuple(parts), state.get("perhaps_posted") is not False, state.get("with_card") is not False)

    def to_state(self) -> dict[str, Any]:
        return {"rest": list(self.parts), "perhaps_posted": self.perhaps_posted, "with_card": self.with_card}


def saved_end(end: End | None) -> Answer | Failure | None:
    """None for a turn that is being suspended: another worker gets the same end from the agent, without a model."""
    return None if isinstance(end, Suspended) else end


class PartsDelivery:
    """Posts one part after the other. Nobody can ask a channel whether a message has arrived: a part that may have
    been posted is posted again, and marked.
    """

    def __init__(self, sender: ActivitySender, rendered: RenderedEnd, save_checkpoint: SaveCheckpoint) -> None:
        self._sender = sender
        self._rendered = rendered
        self._save_checkpoint = save_checkpoint

    async def deliver(self, unsent: UnsentParts) -> str | None:
        """Returns the id of the last message, if the channel gave it one. Raises the `SendError` of a part that the
        channel does not take, and `LeaseLostError`.

        Where the channel finds a part too large, all that are left are halved once; where it refuses the card, the
        card's blocks become text.
        """
        unsent = replace(unsent, parts=tuple(part for part in unsent.parts if part.strip()))
        if not unsent.with_card:
            self._rendered = self._rendered.without_card()
        halved = False
        activity_id: str | None = None
        while unsent.parts:
            try:
                activity_id = await self._deliver_first(unsent)
            except MessageTooLargeError:
                if halved:
                    raise
                halved, unsent = True, self._halved(unsent)
            except SendRefusedError:
                if len(unsent.parts) > 1 or not self._rendered.has_card:
                    raise
                unsent = self._with_card_as_text(unsent)
            else:
                unsent = replace(unsent, parts=unsent.parts[1:], perhaps_posted=False)
        return activity_id

    async def _deliver_first(self, unsent: UnsentParts) -> str | None:
        """A part that may have been posted before, by another worker, is tried once: the next worker tries again."""
        perhaps_posted = unsent.perhaps_posted
        for tries_left in reversed(range(1 if perhaps_posted else _MAX_TRIES)):
            # Before each try: this fails where another worker has taken the turn over.
            await self._save(unsent, perhaps_posted=True)
            try:
                return await self._post_first(unsent, again=perhaps_posted)
            except (NotDeliveredError, ThrottledError):
                await self._save(unsent, perhaps_posted=perhaps_posted)
                raise
            except DeliveryUnknownError:
                if not tries_left:
                    raise
            perhaps_posted = True
            await asyncio.sleep(_RETRY_SECONDS)
        raise AssertionError("the last try returns or raises")

    async def _save(self, unsent: UnsentParts, *, perhaps_posted: bool) -> None:
        state = replace(unsent, perhaps_posted=perhaps_posted).to_state()
        await self._save_checkpoint(Checkpoint(reply_state=state, end=saved_end(self._rendered.end)))

    async def _post_first(self, unsent: UnsentParts, *, again: bool) -> str | None:
        first, *others = unsent.parts
        activity = self._rendered.message(first, last=not others)
        if again:
            activity = {**activity, "text": activities.with_notes(first, self._rendered.translate(SENT_AGAIN))}
        return await self._sender.post(activity)

    def _halved(self, unsent: UnsentParts) -> UnsentParts:
        self._rendered = self._rendered.with_smaller_card()
        limit = self._rendered.channel.text_limit_utf16 // 2
        return replace(unsent, parts=tuple(half for part in unsent.parts for half in split(part, limit)))

    def _with_card_as_text(self, unsent: UnsentParts) -> UnsentParts:
        text = activities.with_notes(unsent.parts[-1], *self._rendered.card_as_text)
        parts = split(text, self._rendered.channel.text_limit_utf16)
        self._rendered = self._rendered.without_card()
        return replace(unsent, parts=tuple(parts), with_card=False)
