"""What a channel's response means for the sender of an activity. Pure.

https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux#error-codes
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.bot.connector.send_errors import (
    ConversationClosedError,
    DeliveryUnknownError,
    MessageTooLargeError,
    NotDeliveredError,
    SendError,
    SendRefusedError,
    StoppedByUserError,
    StreamAlreadyEndedError,
    StreamContentRefusedError,
    StreamNotAllowedError,
    StreamTimeLimitError,
    ThrottledError,
)
from app.resilience.retry_after import retry_after_seconds

_STREAM_REFUSED = "ContentStreamNotAllowed"
# All of them are 403 with the same code: only the message tells them apart.
_STREAM_REFUSALS: tuple[tuple[str, type[SendError]], ...] = (
    ("cancel", StoppedByUserError),
    ("exceeded streaming time", StreamTimeLimitError),
    ("completed streamed message", StreamAlreadyEndedError),
    ("message size too large", MessageTooLargeError),
    ("previously streamed content", StreamContentRefusedError),
)


@dataclass(frozen=True, slots=True)
class ChannelResponse:
    status: int
    body: bytes = b""
    retry_after: str | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """Empty where the body is not a JSON object, as it often is not."""
        try:
            fields = json.loads(self.body) if self.body else {}
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}


def classify_send_error(response: ChannelResponse, *, streams: bool, now: datetime) -> SendError:
    """`streams` says that the activity was part of a stream, `now` is for a `Retry-After` that names a date."""
    code, message = _error(response)
    text = " ".join(part for part in (f"HTTP {response.status}", code, _printable(message)) if part)
    lower = message.lower()
    match response.status:
        case 429:
            return ThrottledError(text, retry_after_seconds(response.retry_after, now=now))
        case 413:
            return MessageTooLargeError(text)
        case 403 if code == _STREAM_REFUSED or "stream" in lower:
            return next((kind for part, kind in _STREAM_REFUSALS if part in lower), StreamNotAllowedError)(text)
        case 403 if code:
            # Without a code it is the answer of a proxy, which says nothing of the conversation.
            return ConversationClosedError(text)
        case 404 if code == "ConversationNotFound":
            return ConversationClosedError(text)
        case 405 if streams:
            return StreamNotAllowedError(text)
        case 400 if "streaming api is not enabled" in lower:
            return StreamNotAllowedError(text)
        case 412:
            return NotDeliveredError(text)
        case 408 | 500 | 502 | 503 | 504:
            return DeliveryUnknownError(text)
    return MessageTooLargeError(text) if code == "MessageSizeTooBig" else SendRefusedError(text)


def _error(response: ChannelResponse) -> tuple[str, str]:
    """Code and message, wherever the channel put them."""
    error = response.fields.get("error")
    fields = error if isinstance(error, dict) else response.fields
    code, message = fields.get("code"), fields.get("message")
    if not isinstance(message, str):
        message = response.body[:1000].decode("utf-8", "replace")
    return re.sub(r"[^\w.-]", "", code, flags=re.ASCII)[:60] if isinstance(code, str) else "", message


def _printable(message: str) -> str:
    return "".join(character if character.isprintable() else " " for character in message[:200]).strip()
