"""What a channel's answer means for whoever sent the activity. Pure.

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
    ChannelUnreachableError,
    MessageTooLargeError,
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
# All of them are 403 with one code: only the sentence tells them apart.
_STREAM_REFUSALS: tuple[tuple[str, type[SendError]], ...] = (
    ("cancel", StoppedByUserError),
    ("exceeded streaming time", StreamTimeLimitError),
    ("completed streamed message", StreamAlreadyEndedError),
    ("message size too large", MessageTooLargeError),
    ("previously streamed content", StreamContentRefusedError),
)


class NotDeliveredError(ChannelUnreachableError):
    """The channel has not taken it, that much is certain: sending it again cannot post it twice."""


class DeliveryUnknownError(ChannelUnreachableError):
    """It went out, and nobody can say what became of it: sending it again may post it twice."""


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
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


def failure_of(answer: ChannelAnswer, *, streams: bool, now: datetime) -> SendError:
    """`streams` says that the activity was part of a stream, `now` is for a `Retry-After` that names a date."""
    code, message = _error(answer)
    text = " ".join(part for part in (f"HTTP {answer.status}", code, _printable(message)) if part)
    lower = message.lower()
    match answer.status:
        case 429:
            return ThrottledError(text, retry_after_seconds(answer.retry_after, now=now))
        case 413:
            return MessageTooLargeError(text)
        case 403 if code == _STREAM_REFUSED or "stream" in lower:
            return next((kind for part, kind in _STREAM_REFUSALS if part in lower), StreamNotAllowedError)(text)
        case 405 if streams:
            return StreamNotAllowedError(text)
        case 400 if "streaming api is not enabled" in lower:
            return StreamNotAllowedError(text)
        case 412:
            return NotDeliveredError(text)
        case 408 | 500 | 502 | 503 | 504:
            return DeliveryUnknownError(text)
    return MessageTooLargeError(text) if code == "MessageSizeTooBig" else SendRefusedError(text)


def _error(answer: ChannelAnswer) -> tuple[str, str]:
    """Code and message, wherever the channel put them."""
    error = answer.fields.get("error")
    fields = error if isinstance(error, dict) else answer.fields
    code, message = fields.get("code"), fields.get("message")
    if not isinstance(message, str):
        message = answer.body[:1000].decode("utf-8", "replace")
    return re.sub(r"[^\w.-]", "", code, flags=re.ASCII)[:60] if isinstance(code, str) else "", message


def _printable(message: str) -> str:
    return "".join(character if character.isprintable() else " " for character in message[:200]).strip()
