"""What the model is given of the conversation: its end, within a token budget, so that no turn costs more than that."""

from __future__ import annotations

from collections.abc import Sequence

from app.models.model import Message
from app.storage.conversations import StoredMessage

# More than fits into the default budget; they are read in one query.
MAX_HISTORY_MESSAGES = 60
_CUT_OFF = "\n\n[This answer was cut off here.]"


def estimate_tokens(text: str) -> int:
    """Rather too many than too few: a token for every 3 bytes of UTF-8, and 4 for the message itself."""
    return len(text.encode("utf-8", "replace")) // 3 + 4


def within_budget(history: Sequence[StoredMessage], budget: int) -> tuple[Message, ...]:
    """The newest whole exchanges that fit into `budget` tokens, oldest first, beginning with a question."""
    kept: list[Message] = []
    exchange: list[Message] = []
    for stored in reversed(history):
        exchange.append(_as_message(stored))
        if stored.role == "user":
            budget -= sum(estimate_tokens(message.content) for message in exchange)
            if budget < 0:
                break
            kept.extend(exchange)
            exchange = []
    return tuple(reversed(kept))


def _as_message(stored: StoredMessage) -> Message:
    return Message(stored.role, stored.text if stored.complete else stored.text + _CUT_OFF)
