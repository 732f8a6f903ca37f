"""What a notifier is: it tells somebody, once, what happened to an incident."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.jobs.incidents.incident import Incident, NoticeKind


class NotifyError(Exception):
    """Nobody was told; its text is one sentence for an administrator. `is_temporary`: worth another attempt, not before
    `retry_after_seconds`. `may_have_arrived`: no answer came. `is_unreachable`: other notices would fail now too.
    """

    def __init__(
        self,
        sentence: str,
        *,
        is_temporary: bool,
        retry_after_seconds: float = 0.0,
        may_have_arrived: bool = False,
        is_unreachable: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.is_temporary = is_temporary
        self.retry_after_seconds = retry_after_seconds
        self.may_have_arrived = may_have_arrived
        self.is_unreachable = is_unreachable


@dataclass(frozen=True, slots=True)
class Notice:
    """`id` is its idempotency key. `incident` is as it is now, which may be later than `at_seconds` (since 1970).

    `text` is what a person added, such as a note; it is untrusted like all else in the incident.
    """

    id: str
    kind: NoticeKind
    at_seconds: float
    incident: Incident
    text: str = ""


class Notifier(Protocol):
    """`name` is that of its settings, for logs and the history."""

    @property
    def name(self) -> str: ...

    async def notify(self, notice: Notice) -> None:
        """May be called again for the same notice, which must then be told once where the target allows it.

        Raises `NotifyError` and `app.storage.storage_errors.StorageError`.
        """
        ...
