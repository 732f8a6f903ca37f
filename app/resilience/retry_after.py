"""The Retry-After header: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_SECONDS = 3600.0

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_MAX_DATE_CHARACTERS = 100


def retry_after_seconds(header: str | None, *, now: datetime | None = None) -> float | None:
    """From 0 to `MAX_RETRY_AFTER_SECONDS`; None where the header is absent or unreadable.

    A date without a zone is in UTC, as every HTTP date is. `now` is when the answer came, by default this moment.
    """
    value = (header or "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    if not value or len(value) > _MAX_DATE_CHARACTERS:
        return None
    try:
        at = parsedate_to_datetime(value)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
