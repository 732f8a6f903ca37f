"""What the model is reminded of: the end of the conversation, within a token budget; so cost per turn stays flat."""

from __future__ import annotations

from collections.abc import Sequence

from app.models.model import Message
from app.storage.conversations import StoredMessage

# More rows than any budget in use can hold; read in one range.
MAX_HISTORY_MESSAGES = 60
_CUT_OFF = "\n\n[This answer was cut off here.]"


def estimate_tokens(text: str) -> int:
    """Never far below what a tokenizer counts: 3 bytes of UTF-8 a token, and 4 for the message itself."""
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
